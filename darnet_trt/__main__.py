"""`python -m darnet_trt` is the command `darnet-trt`."""

from darnet_trt.cli.main import main

if __name__ == "__main__":  # not in the worker processes, which import it
    main()
