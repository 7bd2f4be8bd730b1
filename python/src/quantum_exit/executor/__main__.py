"""`python -m quantum_exit.executor`: the Intent Executor."""

from quantum_exit.executor.service import main
from quantum_exit.settings import run_service

if __name__ == "__main__":
    run_service(main)
