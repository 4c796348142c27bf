"""Prints the pip options that make `torch` a CPU build, where that matters and the index can be reached.

PyPI's torch for Linux brings gigabytes of CUDA libraries. Without an NVIDIA card they are no use, and PyTorch's own
index has a build without them. Prints nothing where that index does not answer: pip then takes what it finds.
"""

import shutil
import sys
import urllib.request

INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    if sys.platform != "linux" or shutil.which("nvidia-smi"):
        return
    try:
        urllib.request.urlopen(f"{INDEX}/torch/", timeout=3).close()
    except OSError:
        return
    print(f"--extra-index-url {INDEX}")


if __name__ == "__main__":
    main()
