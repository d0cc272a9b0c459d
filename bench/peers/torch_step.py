"""A pre-training step in PyTorch: masked event type, AdamW, on an encoder of gated depthwise convolutions and block attention.

Reads one JSON object a line from stdin, answers one a line on stdout:
  {"open": {"users", "length", "width", "blocks", "kernel", "heads", "block", "classes", "threads"}}
      -> {"torch": version, "parameters": count}
  {"load": {name: [numbers]}} -> {}                 weights by their names in weights.safetensors
  {"vectors": [codes]} -> {"vectors": [numbers]}    the encoder alone, to compare results
  {"steps": n} -> {"seconds": [s, ...], "loss": x}
"""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Convolution(nn.Module):
    def __init__(self, width, kernel):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.randn(width, 1, 1, kernel) / kernel**0.5)
        self.bias = nn.Parameter(torch.zeros(width))
        self.gate_weight = nn.Parameter(torch.randn(width, 1, 1, kernel) / kernel**0.5)
        self.gate_bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)
        self.kernel = kernel
        self.width = width

    def forward(self, x):
        around = self.kernel // 2
        # (users, width, 1, length), whose memory is that of (users, length, width): nothing is moved.
        h = self.norm(x).unsqueeze(1).permute(0, 3, 1, 2)
        signal = F.conv2d(h, self.weight, self.bias, padding=(0, around), groups=self.width)
        gate = F.conv2d(h, self.gate_weight, self.gate_bias, padding=(0, around), groups=self.width)
        h = (signal * torch.sigmoid(gate)).permute(0, 2, 3, 1).squeeze(1)
        return x + self.out(h)


class BlockAttention(nn.Module):
    def __init__(self, width, heads, block):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads = heads
        self.block = block

    def forward(self, x):
        users, length, width = x.shape
        h = self.norm(x)
        rest = -length % self.block
        if rest:
            h = F.pad(h, (0, 0, 0, rest))
        head = width // self.heads
        qkv = self.qkv(h).view(-1, self.block, 3, self.heads, head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, -1, self.block, head)
        scores = torch.bmm(q * head**-0.5, k.transpose(1, 2))
        if rest:
            blocks = scores.view(users, -1, self.heads, self.block, self.block)
            blocks[:, -1, :, :, self.block - rest :] = float("-inf")
        y = torch.bmm(torch.softmax(scores, -1), v)
        y = y.view(-1, self.heads, self.block, head).transpose(1, 2).reshape(users, length + rest, width)
        return x + self.out(y[:, :length] if rest else y)


class Encoder(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.table = nn.Embedding(o["classes"], o["width"])
        layers = []
        for _ in range(o["blocks"]):
            layers.append(Convolution(o["width"], o["kernel"]))
            layers.append(BlockAttention(o["width"], o["heads"], o["block"]))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(o["width"])
        self.head = nn.Linear(o["width"], o["classes"])

    def forward(self, codes):
        x = self.table(codes)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Bench:
    def __init__(self, o):
        torch.set_num_threads(o["threads"])
        torch.manual_seed(0)
        self.o = o
        self.model = Encoder(o)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.01, foreach=True)
        events = o["users"] * o["length"]
        self.codes = torch.randint(2, o["classes"], (o["users"], o["length"]))
        self.rows = torch.randperm(events)[: int(0.15 * events)].sort().values

    def load(self, weights):
        names = {"table.weight": "embedding.type.table", "norm.weight": "norm.weight", "norm.bias": "norm.bias"}
        for name, parameter in self.model.named_parameters():
            if name.startswith("head."):
                continue
            stored = names.get(name)
            if stored is None:
                _, index, rest = name.split(".", 2)
                layer = ("convolution", "attention")[int(index) % 2]
                stored = f"blocks.{int(index) // 2}.{layer}.{rest}"
            values = torch.tensor(weights[stored])
            if name.endswith("weight") and parameter.dim() > 2:
                values = values.view(self.o["kernel"], self.o["width"]).t().contiguous()
            with torch.no_grad():
                parameter.copy_(values.view(parameter.shape))

    def vectors(self, codes):
        with torch.no_grad():
            return self.model(torch.tensor(codes).view(self.o["users"], -1)).mean(1)

    def step(self):
        targets = self.codes.view(-1)[self.rows]
        hidden = self.codes.clone()
        hidden.view(-1)[self.rows] = 1
        x = self.model(hidden).view(-1, self.o["width"])
        loss = F.cross_entropy(self.model.head(x[self.rows]), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    bench = None
    for line in sys.stdin:
        ask = json.loads(line)
        if "open" in ask:
            bench = Bench(ask["open"])
            answer = {"torch": torch.__version__, "parameters": sum(p.numel() for p in bench.model.parameters())}
        elif "load" in ask:
            bench.load(ask["load"])
            answer = {}
        elif "vectors" in ask:
            answer = {"vectors": bench.vectors(ask["vectors"]).flatten().tolist()}
        else:
            seconds = []
            for _ in range(ask["steps"]):
                begun = time.perf_counter()
                loss = bench.step()
                seconds.append(time.perf_counter() - begun)
            answer = {"seconds": seconds, "loss": loss}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
