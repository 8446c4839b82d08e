"""Our lint finds what schedulers pass over in silence."""

import pytest

from hpc_ds.jobs.lint import lint

NOTICE = "#!/bin/bash\n#SBATCH --signal=B:USR1@120\n"
FOUND = {
    "en dash in a directive": ("#PJM \u2013x PJM_LLIO_GFSCACHE=/vol0004", 1, "EN DASH"),
    "non-ASCII elsewhere": ("echo caf\u00e9", 1, "job scripts are ASCII"),
    "carriage return": ("#!/bin/bash\r\necho", 1, "Windows"),
    "misspelt option": ("#SBATCH --ntask-per-node=4", 1, "did you mean 'ntasks-per-node'"),
    "misspelt letter": ("#PJM -F x", 1, "-F: unknown"),
    "misspelt resource": ('#PJM -L "elaspe=1:00:00"', 1, "did you mean 'elapse'"),
    "misspelt mpi parameter": ('#PJM --mpi "max-proc-pernode=4"', 1, "did you mean 'max-proc-per-node'"),
    "comment instead of directive": ("# SBATCH --nodes=2", 1, "is a comment"),
    "no space": ("#SBATCH--nodes=2", 1, "is a comment"),
    "directive after a command": ("echo\n#PJM -j", 2, "is not read"),
    "srun without cores": ("#SBATCH --cpus-per-task=12\nsrun --mpi=pmix a.out", 2, "SRUN_CPUS_PER_TASK"),
    "old spelling": ("srun --cpu_bind=cores a.out", 1, "--cpu-bind"),
    "notice without trap": (NOTICE + "srun a.out &\nwait", 2, "no trap"),
    "notice without wait": (NOTICE + "trap x USR1\nsrun --mpi=pmix hpc-ds run &", 2, "no wait"),
    "ranks in the foreground": (
        NOTICE + "trap x USR1\nsrun --mpi=pmix hpc-ds run\nwait",
        4,
        "in the foreground",
    ),
    "unclosed quote": ('#PJM -L "node=2', 1, "quotation"),
    "unknown PBS letter": ("#PBS -Y x", 1, "unknown"),
}
CLEAN = {
    "exported cores": "#SBATCH -c 12\nexport SRUN_CPUS_PER_TASK=12\nsrun a.out",
    "notice to the steps": "#SBATCH --signal=USR1@120\nsrun hpc-ds run",
    "notice done right": NOTICE + "trap x USR1\nsrun -c 2 \\\n    hpc-ds run &\nwait",
    "K-style directives": '#PJM -L "node=4x4x2:torus"\n#PJM --mpi "shape=2x3x2,proc=12"\n#PJM -s\nmpiexec ./a.out',
    "words in comments": "# SBATCH is read by sbatch\necho",
}


@pytest.mark.parametrize("case", FOUND)
def test_found(case):
    text, line, told = FOUND[case]
    assert [
        problem for problem in lint(text) if problem.line == line and told.lower() in problem.text.lower()
    ]


@pytest.mark.parametrize("case", CLEAN)
def test_clean(case):
    assert lint(CLEAN[case]) == []
