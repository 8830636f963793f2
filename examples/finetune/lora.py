"""Teach a small model the decisions of people or of a larger model: LoRA on what `prefrontal decisions export` wrote.

    python examples/finetune/lora.py DATA --model MODEL --out FOLDER            (on a GPU, or on a CPU with a tiny model)
    python examples/finetune/lora.py DATA --model MODEL --out FOLDER --dry-run  (reads and checks everything, loads nothing)

DATA is the folder of an export with `--format chat`. Only the answers are learned: what stands before them is masked.
Needs the extra `finetune` (torch, transformers, peft); a dry run needs nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IGNORED = -100
"""The label of tokens that are not learned (specified: PyTorch's cross entropy)."""

CHARACTERS_PER_TOKEN = 3.0
"""For estimates in a dry run, which has no tokenizer (assumed: short English text and JSON)."""

ROLES = ("system", "user", "assistant")


class BadData(Exception):
    """The data cannot be learned from; the message names file and line."""


@dataclass(frozen=True)
class Chat:
    """One case: the messages before the answer, and the answer."""

    prompt: tuple[dict[str, str], ...]
    answer: str
    meta: dict[str, Any]


def read_chats(file: Path) -> list[Chat]:
    """Return the cases of a file of lines. Raises BadData."""
    found = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{file}: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            found.append(_chat(line, f"{file.name}:{number}"))
    return found


def _chat(line: str, where: str) -> Chat:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadData(f"{where}: no JSON: {error}") from None
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or len(messages) < 2:
        raise BadData(f"{where}: no `messages`; export with --format chat")
    for turn in messages:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
            raise BadData(f"{where}: a message needs a role and a text")
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise BadData(f"{where}: the last message must be the answer")
    return Chat(prompt=tuple(messages[:-1]), answer=messages[-1]["content"], meta=row.get("meta") or {})


@dataclass(frozen=True)
class Data:
    """What is learned from and what judges. repeated: prompts that are learned from more than once."""

    train: list[Chat]
    validation: list[Chat]
    repeated: int


def read_data(folder: Path) -> Data:
    """Return the parts of an export. Raises BadData: nothing to learn, or a case of the validation is learned from."""
    train = read_chats(folder / "train.jsonl")
    validation = read_chats(folder / "validation.jsonl")
    if not validation and (folder / "test.jsonl").exists():
        validation = read_chats(folder / "test.jsonl")  # one agent only: later cases are all there is
    if not train:
        raise BadData(f"{folder}: train.jsonl has no case")
    learned = {chat.prompt_key for chat in map(Keyed, train)}
    leaked = [chat for chat in map(Keyed, validation) if chat.prompt_key in learned]
    if leaked:
        raise BadData(f"{folder}: {len(leaked)} prompts of the validation are in train.jsonl too")
    return Data(train=train, validation=validation, repeated=len(train) - len(learned))


class Keyed:
    """A chat by what is asked in it."""

    def __init__(self, chat: Chat) -> None:
        self.prompt_key = json.dumps(chat.prompt, sort_keys=True)


def summary(data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a run would do, without a tokenizer."""
    lengths = [sum(len(turn["content"]) for turn in chat.prompt) + len(chat.answer) for chat in data.train]
    steps = math.ceil(len(data.train) / (options.batch * options.accumulate)) * options.epochs
    longest = max(lengths) / CHARACTERS_PER_TOKEN
    return {
        "train": len(data.train),
        "validation": len(data.validation),
        "repeated_prompts": data.repeated,
        "answers": dict(Counter(chat.answer for chat in data.train).most_common(20)),
        "origins": dict(Counter(str(chat.meta.get("origin")) for chat in data.train)),
        "longest_tokens_estimated": round(longest),
        "too_long_estimated": sum(length / CHARACTERS_PER_TOKEN > options.max_tokens for length in lengths),
        "optimizer_steps": steps,
        "model": options.model,
        "out": str(options.out),
        "lora": {"rank": options.rank, "alpha": options.alpha, "dropout": options.dropout, "targets": options.targets},
    }


def masked(prompt_tokens: Sequence[int], answer_tokens: Sequence[int], most: int) -> tuple[list[int], list[int]] | None:
    """Return tokens and labels of one case: only the answer is learned. None: it is longer than `most`, and a cut one lies."""
    tokens = [*prompt_tokens, *answer_tokens]
    if len(tokens) > most or not answer_tokens:
        return None
    return tokens, [*[IGNORED] * len(prompt_tokens), *answer_tokens]


def batches(cases: Sequence[Any], size: int, chance: random.Random) -> Iterator[list[Any]]:
    """Yield all cases in batches, in a new order each time it is called."""
    order = list(cases)
    chance.shuffle(order)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def tokenized(tokenizer: Any, chats: Sequence[Chat], most: int) -> tuple[list[tuple[list[int], list[int]]], int]:
    """Return the cases as tokens and labels, and how many were too long."""
    found, too_long = [], 0
    for chat in chats:
        asked = tokenizer.apply_chat_template(list(chat.prompt), add_generation_prompt=True, tokenize=False)
        prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
        answer = [*tokenizer(chat.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        made = masked(prompt, answer, most)
        if made is None:
            too_long += 1
        else:
            found.append(made)
    return found, too_long


def padded(batch: Sequence[tuple[list[int], list[int]]], pad: int, device: str) -> dict[str, Any]:
    """Return a batch as tensors, padded on the right."""
    import torch

    longest = max(len(tokens) for tokens, _ in batch)
    tokens = [[*tokens, *[pad] * (longest - len(tokens))] for tokens, _ in batch]
    labels = [[*labels, *[IGNORED] * (longest - len(labels))] for _, labels in batch]
    mask = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens, _ in batch]
    made = {"input_ids": tokens, "labels": labels, "attention_mask": mask}
    return {name: torch.tensor(value, device=device) for name, value in made.items()}


def judged(model: Any, cases: Sequence[tuple[list[int], list[int]]], pad: int, device: str, size: int) -> dict[str, float]:
    """Return mean loss over the answers, and how often the first token of the answer is the most probable one."""
    import torch

    model.eval()
    right, loss, count = 0, 0.0, 0
    with torch.no_grad():
        for start in range(0, len(cases), size):
            part = cases[start : start + size]
            batch = padded(part, pad, device)
            answer = model(**batch)
            loss += float(answer.loss) * len(part)
            for row, (_, labels) in enumerate(part):
                first = next(place for place, label in enumerate(labels) if label != IGNORED)
                right += int(answer.logits[row, first - 1].argmax()) == labels[first]
                count += 1
    return {"cases": count, "loss": loss / max(1, count), "accuracy": right / max(1, count)}


def train(data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Train, save the adapter (and the merged model), and return what came of it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(options.seed)
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    base = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).to(device)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    learned, too_long = tokenized(tokenizer, data.train, options.max_tokens)
    judge, _ = tokenized(tokenizer, data.validation, options.max_tokens)
    if not learned:
        raise BadData(f"every case is longer than {options.max_tokens} tokens")
    targets: Any = options.targets if options.targets == "all-linear" else options.targets.split(",")
    settings = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        modules_to_save=["embed_tokens", "lm_head"] if options.train_embeddings else None,
        bias="none",
        task_type="CAUSAL_LM",
    )
    before = judged(base, judge, pad, device, options.batch) if judge else None
    model = get_peft_model(base, settings)
    steps = _steps(model, learned, pad, device, options)
    after = judged(model, judge, pad, device, options.batch) if judge else None
    model.save_pretrained(options.out / "adapter")
    if options.merge:
        model.merge_and_unload().save_pretrained(options.out / "merged")
        tokenizer.save_pretrained(options.out / "merged")
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return {"device": device, "too_long": too_long, "trained": trained, "steps": steps, "before": before, "after": after}


def _steps(model: Any, cases: list[tuple[list[int], list[int]]], pad: int, device: str, options: argparse.Namespace) -> int:
    """Run the optimizer: linear warm-up over a tenth of the steps, then a cosine to zero."""
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options.learning_rate)
    total = math.ceil(math.ceil(len(cases) / options.batch) / options.accumulate) * options.epochs
    warm = max(1, total // 10)

    def rate(step: int) -> float:
        return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    chance, done = random.Random(options.seed), 0
    for epoch in range(options.epochs):
        model.train()
        rest = list(batches(cases, options.batch, chance))
        for start in range(0, len(rest), options.accumulate):
            part = rest[start : start + options.accumulate]
            for batch in part:
                loss = model(**padded(batch, pad, device)).loss / len(part)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
        print(f"epoch {epoch + 1}: loss {float(loss.detach()) * len(part):.4f}", file=sys.stderr)
    return done


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options. Numbers out of range end the program with status 2."""
    parser = argparse.ArgumentParser(description="LoRA on exported decisions.")
    parser.add_argument("data", type=Path, help="folder that `prefrontal decisions export --format chat` wrote")
    parser.add_argument("--model", required=True, help="a folder with a model, or its name on the hub")
    parser.add_argument("--out", type=Path, required=True, help="where adapter/ (and merged/) go")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4, help="cases of one step")
    parser.add_argument("--accumulate", type=int, default=1, help="steps that are added up before the weights move")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--targets", default="all-linear", help="all-linear, or names such as q_proj,v_proj")
    parser.add_argument("--train-embeddings", action="store_true", help="for the tiny model, which knows no words")
    parser.add_argument("--max-tokens", type=int, default=2048, help="longer cases are left out")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--merge", action="store_true", help="also write the model with the adapter in it, for GGUF")
    parser.add_argument("--dry-run", action="store_true", help="read and check the data; load no model")
    options = parser.parse_args(arguments)
    for name in ("epochs", "batch", "accumulate", "rank", "alpha", "max_tokens"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if not 0 < options.learning_rate < 1 or not 0 <= options.dropout < 1:
        parser.error("--learning-rate lies in (0, 1), --dropout in [0, 1)")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run; the result is JSON on standard output. 1: the data is bad; 2: the options; 3: the extra is not installed."""
    options = options_of(arguments)
    try:
        data = read_data(options.data)
        plan = summary(data, options)
        if not options.dry_run:
            plan["result"] = train(data, options)
    except BadData as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"error: {error}\n  install the extra: pip install 'prefrontal[finetune]'", file=sys.stderr)
        return 3
    print(json.dumps(plan, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
