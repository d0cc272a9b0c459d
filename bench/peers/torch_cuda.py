"""Training steps in PyTorch on a card, one JSON object a line on stdout: {"name", "seconds": [s, ...], "loss"}.

python3 torch_cuda.py '{"users", "lengths": [n, ...], "width", "blocks", "kernel", "heads", "block", "classes", "steps",
                        "models": ["encoder", "encoder compiled", "transformer compiled", ...]}'

Sequences of different lengths are padded to the longest, as PyTorch wants them: attention is masked, and the loss counts
real events alone. All in bfloat16 by autocast, with float32 master weights, fused AdamW, TF32 where float32 is left.
"""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

from torch_step import Encoder


class TransformerLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x, mask):
        users, length, width = x.shape
        qkv = self.qkv(self.norm(x)).view(users, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(users, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.table = nn.Embedding(o["classes"], o["width"])
        self.layers = nn.ModuleList([TransformerLayer(o["width"], o["heads"]) for _ in range(o["blocks"])])
        self.norm = nn.LayerNorm(o["width"])
        self.head = nn.Linear(o["width"], o["classes"])

    def forward(self, codes, mask=None):
        x = self.table(codes)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


def run(name, o):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    device = "cuda"
    transformer = name.startswith("transformer")
    model = (Transformer if transformer else Encoder)(o).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    lengths = torch.tensor(o["lengths"])
    longest = int(lengths.max())
    real = torch.arange(longest)[None, :] < lengths[:, None]
    codes = torch.randint(2, o["classes"], real.shape)
    chosen = real & (torch.rand(real.shape) < 0.15)
    rows = chosen.view(-1).nonzero().squeeze(1).to(device)
    targets = codes.view(-1).to(device)[rows]
    hidden = torch.where(chosen, torch.ones_like(codes), codes).to(device)
    mask = real.to(device)[:, None, None, :] if transformer and not bool(real.all()) else None

    def loss_of(hidden):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            x = model(hidden, mask) if transformer else model(hidden)
            return F.cross_entropy(model.head(x.view(-1, o["width"])[rows]).float(), targets)

    compute = torch.compile(loss_of) if "compiled" in name else loss_of

    def step():
        loss = compute(hidden)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        loss = step()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(o["steps"]):
        begun = time.perf_counter()
        loss = step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    gigabytes = torch.cuda.max_memory_allocated() / 1e9
    print(json.dumps({"name": name, "seconds": seconds, "loss": loss.item(), "gigabytes": gigabytes}), flush=True)


def product_rate():
    """Operations a second of a bfloat16 matrix product on random data: what tensor cores reach here."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(10):
        a @ b
    torch.cuda.synchronize()
    return 10 * 2 * 8192**3 / (time.perf_counter() - begun)


def main():
    o = json.loads(sys.argv[1])
    print(json.dumps({"torch": torch.__version__, "card": torch.cuda.get_device_name(), "product": product_rate()}), flush=True)
    for name in o["models"]:
        run(name, o)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
