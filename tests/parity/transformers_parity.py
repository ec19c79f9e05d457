#!/usr/bin/env python3
"""Other programs read what we export, and compute the same sparse vectors.

    cargo build --bins
    python3 tests/parity/transformers_parity.py --binaries target/debug [--model DIR [--idf FILE]]...

Exports every model with ellzero-model, loads it with transformers (AutoModelForMaskedLM) and, where it is installed,
with sentence-transformers (SparseEncoder), and compares their vectors with those of `ellzero-eval encode`, token by
token. Both compute in float32, whatever type the weights are stored in. Models have two
logs. Needs torch and transformers; takes the golden models of tests/fixtures where no --model is given.
Exit code 0: the same; 1: not the same; 2: wrong usage or a missing package.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", HF_HUB_DISABLE_PROGRESS_BARS="1")

TOLERANCE = 1e-4
FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
MAX_LENGTH = 128  # of what is exported here; a complete model says its own


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, default="target/debug", help="folder of the ellzero programs")
    parser.add_argument("--model", type=pathlib.Path, action="append", help="model directory; may be repeated")
    parser.add_argument("--idf", type=pathlib.Path, action="append", help="query weights of the model before it")
    parser.add_argument("--as-is", action="store_true", help="the models are complete, as training writes them: do not export")
    return parser.parse_args()


def models(args):
    """Pairs of a model directory and its table of query weights."""
    if args.model:
        tables = args.idf or []
        return [(model, tables[index] if index < len(tables) else None) for index, model in enumerate(args.model)]
    names = [path.stem for path in sorted((FIXTURES / "sparse").glob("*.safetensors")) if not path.stem.endswith("_texts")]
    return [(FIXTURES / name, FIXTURES / "sparse" / "idf.json") for name in names]


class Ours:
    """The ellzero programs."""

    def __init__(self, binaries, model, idf, as_is, folder):
        self.binaries, self.folder = binaries, folder
        self.exported = model if as_is else folder / "exported"
        table = ["--idf", idf] if idf else []
        if not as_is:
            self.run("model", "export", model, "--output", self.exported, *table, "--activation", "l1_relu",
                     "--layout", "sentence-transformers", "--max-length", MAX_LENGTH)
        self.max_length = json.loads((self.exported / "sentence_bert_config.json").read_text())["max_seq_length"]

    def run(self, tool, *words):
        subprocess.run([self.binaries / f"ellzero-{tool}", *map(str, words), "--quiet"], check=True)

    def encode(self, texts, route):
        """Token -> weight of each text."""
        rows, vectors = self.folder / "rows.jsonl", self.folder / f"{route}.jsonl"
        rows.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
        self.run("eval", "encode", "--model", self.exported, "--input", rows, "--output", vectors,
                 "--route", route, "--max-length", self.max_length)
        return [json.loads(line)["vector"] for line in vectors.read_text().splitlines()]


def by_token(dense, tokenizer):
    """Token -> weight of each row of a dense tensor, without the special tokens."""
    special = set(tokenizer.all_special_ids)
    return [
        {tokenizer.convert_ids_to_tokens(int(i)): float(row[i]) for i in row.nonzero().flatten() if int(i) not in special}
        for row in dense
    ]


def transformers_documents(folder, texts, max_length):
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(str, report.get(kind, [])))
        if keys:
            sys.exit(f"{folder}: transformers reports {kind}: {keys}")
    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.inference_mode():
        logits = model.eval()(**batch).logits * batch["attention_mask"].unsqueeze(-1)
    return by_token(torch.log1p(torch.log1p(torch.relu(logits.amax(dim=1)))), tokenizer)


def sentence_transformers_vectors(folder, texts):
    """Documents and queries, or None where the package is missing."""
    try:
        import torch
        from sentence_transformers import SparseEncoder
    except ImportError:
        return None
    encoder = SparseEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    dense = {"convert_to_sparse_tensor": False, "show_progress_bar": False}
    documents = encoder.encode_document(texts, **dense)
    queries = encoder.encode_query(texts, **dense)
    return by_token(documents, encoder.tokenizer), by_token(queries, encoder.tokenizer)


def compare(what, ours, theirs):
    """Number of weights that differ; a token that one side lacks weighs 0 there."""
    differing, largest, compared = 0, 0.0, 0
    for row, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        for token in our.keys() | their.keys():
            found, expected = our.get(token, 0.0), their.get(token, 0.0)
            difference = abs(found - expected)
            compared += 1
            largest = max(largest, difference)
            if not difference <= TOLERANCE:
                differing += 1
                if differing <= 5:
                    print(f"  {what}: text {row}, token {token!r}: found {found}, expected {expected}")
    print(f"{what}: {differing} of {compared} weights differ, by {largest:.1e} at most")
    return differing + (compared == 0)


def main():
    args = arguments()
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        print(f"{error}: pip install torch transformers", file=sys.stderr)
        return 2
    transformers.logging.set_verbosity_error()
    meta = json.loads((FIXTURES / "sparse" / "meta.json").read_text())
    texts = [text for text in dict.fromkeys(meta["texts"] + meta["queries"]) if text]
    failures = 0
    for model, idf in models(args):
        with tempfile.TemporaryDirectory() as folder:
            ours = Ours(args.binaries, model, idf, args.as_is, pathlib.Path(folder))
            documents, queries = ours.encode(texts, "document"), ours.encode(texts, "query")
            theirs = transformers_documents(ours.exported, texts, ours.max_length)
            failures += compare(f"{model.name}, transformers, documents", documents, theirs)
            vectors = sentence_transformers_vectors(ours.exported, texts)
            if vectors is None:
                print(f"{model.name}: skipped: sentence-transformers is not installed")
                continue
            failures += compare(f"{model.name}, sentence-transformers, documents", documents, vectors[0])
            failures += compare(f"{model.name}, sentence-transformers, queries", queries, vectors[1])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
