"""A skilltokens library as a LeRobot policy, and skilltokens' suites as environments for every LeRobot policy.

LeRobot imports this package because of its name, and then goes by the names of its modules and classes.

configuration_skilltokens.py    `--policy.type=skilltokens`
modeling_skilltokens.py         the policy: a library that acts
processor_skilltokens.py        what stands before and behind it: nothing is scaled
env_skilltokens.py              `--env.type=skilltokens`
readings.py                     LeRobot's batches as a library's observations
"""

from lerobot_policy_skilltokens.configuration_skilltokens import SkilltokensConfig
from lerobot_policy_skilltokens.env_skilltokens import SkilltokensEnvConfig

__all__ = ["SkilltokensConfig", "SkilltokensEnvConfig"]
