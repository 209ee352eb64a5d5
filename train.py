"""Train a Transformer: `python train.py [GROUP=OPTION] [KEY=VALUE] …`; `--help` lists them."""

from minitf.training.command import main

if __name__ == "__main__":
    main()
