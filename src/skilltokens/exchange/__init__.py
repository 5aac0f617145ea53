"""Other people's formats in and out: HDF5 (robomimic, LIBERO), and published files of the Hub."""
