"""The peer's script on a GPU: PyTorch's default device is CUDA, and each reading of the clock waits for it.

    python benches/peer_cuda.py [--tf32] ../shared/peer/bench_pytorch.py train|encode ...
"""
import sys
import time

import torch

arguments = sys.argv[1:]
if arguments[0] == "--tf32":
    arguments.pop(0)
    torch.backends.cuda.matmul.allow_tf32 = True
torch.set_default_device("cuda")
clock = time.perf_counter
time.perf_counter = lambda: (torch.cuda.synchronize(), clock())[1]

source = open(arguments[0]).read().replace('device="cpu"', 'device="cuda"')
source = source.replace("return_token_type_ids=False)", 'return_token_type_ids=False).to("cuda")')
sys.argv = arguments
exec(compile(source, arguments[0], "exec"), {"__name__": "__main__", "__file__": arguments[0]})
