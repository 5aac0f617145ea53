"""A skilltokens library as a LeRobot policy, and skilltokens' suites as environments for every LeRobot policy.

LeRobot imports this package because of its name, and then goes by the names of its modules and classes.

configuration_skilltokens.py            `--policy.type=skilltokens`
modeling_skilltokens.py                 the policy: a library that acts
processor_skilltokens.py                what stands before and behind it: nothing is scaled
configuration_skilltokens_attached.py   the same of a library beside a policy of LeRobot's
modeling_skilltokens_attached.py        it acts, and lerobot-train teaches it a skill
teaching.py                             the skill that is taught
acting.py                               what both do when they act
readings.py                             LeRobot's batches as a library's observations
bases.py                                LeRobot's checkpoints as bases of libraries
env_skilltokens.py                      `--env.type=skilltokens`
"""

from lerobot_policy_skilltokens.configuration_skilltokens import SkilltokensConfig
from lerobot_policy_skilltokens.configuration_skilltokens_attached import SkilltokensAttachedConfig
from lerobot_policy_skilltokens.env_skilltokens import SkilltokensEnvConfig

__all__ = ["SkilltokensAttachedConfig", "SkilltokensConfig", "SkilltokensEnvConfig"]
