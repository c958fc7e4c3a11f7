"""Imported by the process that others are forked from, before what it loads for them.

It takes no part in anything: told to stop it just ends, and it ends with the process that started
it. Not to be imported anywhere else.
"""

from hydra_plugins.maml_sweep_local_launcher._children import (
    end_quietly_on_signals,
    end_with_parent,
)

end_quietly_on_signals()
end_with_parent()
