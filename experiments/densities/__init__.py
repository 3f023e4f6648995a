"""How the share of voxels that a surface fills falls with the resolution: ILA-SCNN's Fig. 5, from real meshes."""
