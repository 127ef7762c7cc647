#!/usr/bin/env bash
# One machine's share of a run over several. The same command on each of them, with its own NODE_RANK, at about the same time:
#   NODES=2 NODE_RANK=0 HEAD=10.0.0.1 configs/launch/torchrun.sh --config configs/run/quickstart.yaml --trainer.accelerator gpu --trainer.strategy fsdp --data.sequences_per_step 64
# Flags are those of `roots fit`, --resume RUN among them. Run directory and corpus lie on a disk that all machines share.
#   NODES      how many machines      NODE_RANK  which of them this is, from 0      HEAD  name or address of number 0
#   PROCESSES  processes on this machine (gpu: one for each GPU)                    PORT  a free port of HEAD (29500)
set -euo pipefail
: "${NODES:?set it to the number of machines}" "${NODE_RANK:?set it to the number of this machine, from 0}"
: "${HEAD:?set it to the name or address of machine 0}"
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes "$NODES" --node-rank "$NODE_RANK" \
    --nproc-per-node "${PROCESSES:-gpu}" --master-addr "$HEAD" --master-port "${PORT:-29500}" -m roots fit "$@"
