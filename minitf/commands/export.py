"""`minitf export RUN_DIR --to FORMAT --output DIR`: a model for other engines."""

from collections.abc import Sequence
from pathlib import Path

from minitf.commands.arguments import Parser, add_model_arguments, load_model

_EPILOG = """\
formats:
  safetensors   config.json, tokenizer.json, model.safetensors: minitf.load reads it back
  transformers  for AutoModelForSeq2SeqLM and AutoTokenizer
  ctranslate2   for ctranslate2.Translator, which is quick on CPUs
  onnx          encoder.onnx and decoder.onnx, for onnxruntime

Every export is run in its engine beside the model before it is put in place, and holds a README.md
with its data, recipe, scores and a usage example. All but safetensors need: pip install
'minitf[export]'.

example:
  minitf export outputs/latest --to ctranslate2 --output my-model"""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = Parser("export", "Write a trained model for another engine.", _EPILOG)
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run, or a safetensors export")
    parser.add_argument("--to", required=True, metavar="FORMAT",
                        help="safetensors, transformers, ctranslate2 or onnx")  # fmt: skip
    parser.add_argument("--output", required=True, metavar="DIR", help="a new directory")
    add_model_arguments(parser)
    parser.set_defaults(device="cpu")
    arguments = parser.parse_args(argv)

    translator = load_model(arguments.run_dir, arguments, arguments.attention)
    from minitf.export import export

    check = export(translator, arguments.to, Path(arguments.output), Path(arguments.run_dir))
    print(f"wrote {arguments.output} from {translator.origin}\nchecked: {check.finding}")
    return 0
