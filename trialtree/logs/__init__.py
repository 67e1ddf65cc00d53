"""What the stages of a trial printed, and how they ended: `trialtree logs`.

records.py      what stages/logs.py keeps: an invocation, an execution
linking.py      an entry of dvc.lock to the execution that made it: `of_lock`
sweeps.py       a trial of a sweep to what the sweep keeps of it
finding.py      a trial's name to its stages, run or cached
showing.py      these as text, as JSON, and while they run
"""

from trialtree.logs.linking import Kept, of_lock
from trialtree.logs.records import Execution

__all__ = ["Execution", "Kept", "of_lock"]
