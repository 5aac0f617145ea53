"""Everything that steps an environment: processes, simulators, rollouts, video, demonstrations."""
