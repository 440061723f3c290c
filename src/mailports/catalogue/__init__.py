"""What is known beforehand: mail ports (`ports`) and the programs behind process names (`programs`)."""
