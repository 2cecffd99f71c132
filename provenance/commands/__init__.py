"""The commands of the shell, a file each: ``add_commands`` declares arguments, ``run`` does the work."""
