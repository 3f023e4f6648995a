"""What the rooms share: kernel calls and their rules, shapes, capacities, checks. Private."""
