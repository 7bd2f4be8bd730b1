import sys

from quantum_exit.exitctl.main import main

sys.exit(main())
