"""Programs that `test_ranks_mpi` starts with mpiexec, each on several ranks."""
