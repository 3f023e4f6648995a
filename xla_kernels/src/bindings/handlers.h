// The handlers, by FFI target name. The last result of every target is its workspace: bytes, of the size that
// xla_kernels.workspace_bytes says.
#pragma once

#include "xla/ffi/api/c_api.h"

// X(target, handler symbol), those that both platforms have
#define JAXSPARSE_HANDLERS(X)                                                  \
  X("jaxsparse_direct_relu", JaxsparseDirectRelu)                              \
  X("jaxsparse_direct_masked_scale", JaxsparseDirectMaskedScale)               \
  X("jaxsparse_direct_take", JaxsparseDirectTake)                              \
  X("jaxsparse_direct_put_add", JaxsparseDirectPutAdd)                         \
  X("jaxsparse_direct_channel_sum", JaxsparseDirectChannelSum)                 \
  X("jaxsparse_direct_global_max_pool", JaxsparseDirectGlobalMaxPool)          \
  X("jaxsparse_direct_global_avg_pool", JaxsparseDirectGlobalAvgPool)          \
  X("jaxsparse_direct_global_avg_pool_grad", JaxsparseDirectGlobalAvgPoolGrad) \
  X("jaxsparse_direct_channel_dot", JaxsparseDirectChannelDot)                 \
  X("jaxsparse_direct_channel_affine", JaxsparseDirectChannelAffine)           \
  X("jaxsparse_direct_from_dense", JaxsparseDirectFromDense)                   \
  X("jaxsparse_direct_to_dense", JaxsparseDirectToDense)                       \
  X("jaxsparse_direct_gather_dense", JaxsparseDirectGatherDense)               \
  X("jaxsparse_direct_add", JaxsparseDirectAdd)                                \
  X("jaxsparse_direct_conv", JaxsparseDirectConv)                              \
  X("jaxsparse_direct_conv_at", JaxsparseDirectConvAt)                         \
  X("jaxsparse_direct_conv_input_grad", JaxsparseDirectConvInputGrad)          \
  X("jaxsparse_direct_conv_kernel_grad", JaxsparseDirectConvKernelGrad)        \
  X("jaxsparse_direct_max_pool", JaxsparseDirectMaxPool)                       \
  X("jaxsparse_direct_avg_pool", JaxsparseDirectAvgPool)                       \
  X("jaxsparse_direct_window_sum", JaxsparseDirectWindowSum)                   \
  X("jaxsparse_direct_window_spread", JaxsparseDirectWindowSpread)             \
  X("jaxsparse_block_reduce_mask", JaxsparseBlockReduceMask)                   \
  X("jaxsparse_block_gather", JaxsparseBlockGather)                            \
  X("jaxsparse_block_scatter", JaxsparseBlockScatter)                          \
  X("jaxsparse_block_scatter_add", JaxsparseBlockScatterAdd)                   \
  X("jaxsparse_block_erase", JaxsparseBlockErase)                              \
  X("jaxsparse_voxel_sort_rows", JaxsparseVoxelSortRows)                       \
  X("jaxsparse_voxel_sites", JaxsparseVoxelSites)                              \
  X("jaxsparse_voxel_kernel_map", JaxsparseVoxelKernelMap)                     \
  X("jaxsparse_voxel_merge_rows", JaxsparseVoxelMergeRows)                     \
  X("jaxsparse_voxel_spread_rows", JaxsparseVoxelSpreadRows)                   \
  X("jaxsparse_voxel_max_rows", JaxsparseVoxelMaxRows)                         \
  X("jaxsparse_voxel_pick_rows", JaxsparseVoxelPickRows)                       \
  X("jaxsparse_voxel_place_rows", JaxsparseVoxelPlaceRows)                     \
  X("jaxsparse_voxel_pool_max", JaxsparseVoxelPoolMax)                         \
  X("jaxsparse_voxel_pool_put", JaxsparseVoxelPoolPut)                         \
  X("jaxsparse_voxel_pool_sum", JaxsparseVoxelPoolSum)                         \
  X("jaxsparse_voxel_segment_sum", JaxsparseVoxelSegmentSum)                   \
  X("jaxsparse_voxel_segment_max", JaxsparseVoxelSegmentMax)                   \
  X("jaxsparse_voxel_map_conv", JaxsparseVoxelMapConv)                         \
  X("jaxsparse_voxel_map_conv_kernel_grad", JaxsparseVoxelMapConvKernelGrad)

// Those that have no kernel for the GPU.
#define JAXSPARSE_CPU_ONLY_HANDLERS(X) X("jaxsparse_block_scatter_new", JaxsparseBlockScatterNew)

#define JAXSPARSE_ALL_HANDLERS(X) \
  JAXSPARSE_HANDLERS(X)           \
  JAXSPARSE_CPU_ONLY_HANDLERS(X)

#define JAXSPARSE_DECLARE_HANDLER(name, symbol) extern "C" XLA_FFI_Error* symbol(XLA_FFI_CallFrame* call_frame);
JAXSPARSE_ALL_HANDLERS(JAXSPARSE_DECLARE_HANDLER)
#undef JAXSPARSE_DECLARE_HANDLER
