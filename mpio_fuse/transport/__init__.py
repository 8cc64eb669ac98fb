"""What carries one command to one logical unit over one I_T nexus."""
