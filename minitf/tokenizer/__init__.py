"""Text to token numbers and back: byte-level BPE, words or characters, trained on the data."""

from minitf.tokenizer.text_tokenizer import TextTokenizer
from minitf.tokenizer.train import train_tokenizer

__all__ = ["TextTokenizer", "train_tokenizer"]
