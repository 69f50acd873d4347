"""``python -m bench.lab.kubelet STATE_DIR``."""

import sys

from bench.lab.kubelet.agent import main

sys.exit(main(sys.argv[1:]))
