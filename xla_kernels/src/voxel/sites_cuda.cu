// Lists of sites and kernel maps on the GPU: keys are sorted, and looked up by bisection. See sites_cuda.h.
#include "sites_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../cuda/division.h"
#include "../cuda/radix_sort.cuh"
#include "site_list.h"

namespace jaxsparse::voxel {
namespace {

using cuda::blocks_of;
using cuda::Device;
using cuda::Divisor;
using cuda::kChunk;
using cuda::kListThreads;

__device__ inline int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

template <class Scratch>
const Scratch& checked(const Device& device, const Scratch& scratch) {
  if (device.workspace.bytes < scratch.bytes) throw std::invalid_argument("the workspace is too small");
  return scratch;
}

// Above every key: of rows that are none.
int64_t keys_end(const Box& box) {
  int64_t end = box.batch;
  for (int a = 0; a < box.dims; ++a) end *= box.size[a];
  return end;
}
int bits_of(int64_t number) {
  int bits = 0;
  for (; number > 0; number >>= 1) ++bits;
  return bits;
}

// ---- Which rows count
// ---------------------------------------------------------------------------------------------------

// As stored_keys: rows behind the prefix that counts. `keys` (may be null) gets the key of every row.
template <class = void>
__global__ void count_unused_sites_kernel(Box box, const int32_t* coords, int64_t rows, int64_t* keys,
                                          int32_t* unused) {
  const int64_t row = thread_number();
  int64_t first = rows;
  if (row < rows) {
    const int64_t key = key_of(box, coords + row * box.columns());
    const int64_t before = row > 0 ? key_of(box, coords + (row - 1) * box.columns()) : -1;
    if (key <= before) first = row;
    if (keys) keys[row] = key;
  }
  first = cuda::block_min(first);
  if (threadIdx.x == 0 && first < rows) atomicMax(unused, static_cast<int32_t>(rows - first));
}

void count_unused_sites(const cuda::Stream& stream, const Box& box, const int32_t* coords, int64_t rows, int64_t* keys,
                        int32_t* unused) {
  cuda::clear(stream, unused, sizeof(int32_t));
  cuda::launch(stream, {blocks_of(rows, kListThreads), kListThreads}, count_unused_sites_kernel<>, box, coords, rows,
               keys, unused);
}

// ---- Sorted keys to a list
// ----------------------------------------------------------------------------------------------

// `rows`, and all of `out` but the list itself, are null where nobody asks which rows make a site.
struct Listing {
  Box box;
  int64_t end, n, capacity;
  const int64_t* keys;
  const int32_t* rows;
  Sorted out;

  __device__ bool is_head(int64_t i) const { return keys[i] < end && (i == 0 || keys[i - 1] != keys[i]); }
};

template <class = void>
__global__ void count_heads_kernel(Listing list, int32_t* counts) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kChunk;
  int32_t heads = 0;
  for (int64_t i = begin + threadIdx.x; i < begin + kChunk && i < list.n; i += kListThreads) heads += list.is_head(i);
  heads = cuda::block_scan(heads).total;
  if (threadIdx.x == 0) counts[blockIdx.x] = heads;
}

__device__ inline void write_site(const Box& box, int64_t key, int32_t* row) {
  for (int a = box.dims - 1; a >= 0; --a) {
    const int64_t above = key / box.size[a];
    row[1 + a] = static_cast<int32_t>(key - above * box.size[a]);
    key = above;
  }
  row[0] = static_cast<int32_t>(key);
}

// `before`: sites of earlier chunks.
template <class = void>
__global__ void list_sites_kernel(Listing list, const int32_t* before, int32_t* placed) {
  constexpr int kEach = static_cast<int>(kChunk) / kListThreads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kChunk + int64_t{kEach} * threadIdx.x;
  int32_t heads = 0;
  for (int i = 0; i < kEach; ++i) heads += first + i < list.n && list.is_head(first + i);
  int64_t site = int64_t{before[blockIdx.x]} + cuda::block_scan(heads).before - 1;
  for (int64_t i = first; i < first + kEach && i < list.n; ++i) {
    const int64_t key = list.keys[i];
    const bool valid = key < list.end, head = list.is_head(i);
    site += head;
    const bool kept = valid && site < list.capacity;
    if (head && kept) write_site(list.box, key, list.out.coords + site * list.box.columns());
    if (!list.rows) continue;
    const int32_t row = list.rows[i];
    if (head && kept) list.out.starts[site] = static_cast<int32_t>(i);
    list.out.order[i] = kept ? row : static_cast<int32_t>(list.n);
    list.out.row_of[row] = static_cast<int32_t>(kept ? site : list.capacity);
    if (!kept) continue;
    const int64_t next = i + 1 < list.n ? list.keys[i + 1] : list.end;
    if (next >= list.end || (next != key && site + 1 >= list.capacity)) *placed = static_cast<int32_t>(i + 1);
  }
}

template <class = void>
__global__ void fill_sites_kernel(Listing list, const int32_t* found, const int32_t* placed) {
  const int64_t site = thread_number();
  if (site == 0) *list.out.count = *found;
  if (site > list.capacity || (site < *found && site < list.capacity)) return;
  if (list.out.starts) list.out.starts[site] = *placed;
  if (site == list.capacity) return;
  int32_t* row = list.out.coords + site * list.box.columns();
  row[0] = static_cast<int32_t>(list.box.batch);
  for (int a = 0; a < list.box.dims; ++a) row[1 + a] = 0;
}

// scratch.sort.keys[0] to a list.
void list_sorted(Device& device, const Box& box, int64_t capacity, const ListScratch& scratch, const Sorted& out) {
  const cuda::Stream& stream = device.stream;
  const cuda::SortScratch& sort = scratch.sort;
  const int64_t end = keys_end(box);
  const int at = cuda::sort_keys(stream, sort, bits_of(end));
  const Listing list{box, end, sort.numbers, capacity, sort.keys[at], sort.rows[at], out};
  cuda::clear(stream, scratch.placed, sizeof(int32_t));
  cuda::launch(stream, {sort.tiles, kListThreads}, count_heads_kernel<>, list, scratch.chunks);
  cuda::scan_rows(stream, 1, sort.tiles, scratch.chunks, scratch.found);
  cuda::launch(stream, {sort.tiles, kListThreads}, list_sites_kernel<>, list, scratch.chunks, scratch.placed);
  cuda::launch(stream, {blocks_of(capacity + 1, kListThreads), kListThreads}, fill_sites_kernel<>, list, scratch.found,
               scratch.placed);
}

template <class = void>
__global__ void keys_of_rows_kernel(Box box, int64_t end, const int32_t* coords, int64_t rows, const int32_t* used,
                                    int64_t* keys, int32_t* numbers) {
  const int64_t row = thread_number();
  if (row >= rows) return;
  const int64_t key = row < *used ? key_of(box, coords + row * box.columns()) : -1;
  keys[row] = key < 0 ? end : key;
  numbers[row] = static_cast<int32_t>(row);
}

void sort_rows(Device& device, const Box& box, const int32_t* coords, int64_t rows, const int32_t* used,
               int64_t capacity, const Sorted& out) {
  const ListScratch scratch = checked(device, ListScratch(rows, true, device.workspace.data));
  cuda::launch(device.stream, {blocks_of(rows, kListThreads), kListThreads}, keys_of_rows_kernel<>, box, keys_end(box),
               coords, rows, used, scratch.sort.keys[0], scratch.sort.rows[0]);
  list_sorted(device, box, capacity, scratch, out);
}

// ---- The sites that a relation reaches
// ----------------------------------------------------------------------------------

// A thread has an input and one of the outputs that it may meet.
template <class = void>
__global__ void reached_keys_kernel(Relation r, Reach reach, Divisor per_row, int64_t end, const int32_t* coords,
                                    int64_t rows, const int32_t* unused, int64_t* keys) {
  int64_t row = thread_number();
  if (row >= rows * reach.all) return;
  int64_t* to = keys + row;
  int64_t number = per_row.divide(row);
  int64_t key = -1;
  if (row < rows - *unused) {
    const int32_t* site = coords + row * (r.dims + 1);
    key = site[0];
    int64_t candidates = reach.all;
    for (int a = 0; a < r.dims && key >= 0; ++a) {
      const Axis& x = r.axis[a];
      candidates /= reach.most[a];
      const int64_t which = number / candidates;
      number -= which * candidates;
      const int64_t base = x.in_stride * site[1 + a] - x.offset;
      int64_t tap = 0;
      while (tap < reach.apart[a] && tap < x.kernel && (base - tap * x.step) % x.out_stride != 0) ++tap;
      const bool ever = tap < reach.apart[a];
      tap += which * reach.apart[a];
      const int64_t scaled = base - tap * x.step, at = scaled / x.out_stride;
      key = ever && tap < x.kernel && scaled >= 0 && at < x.out ? key * x.out + at : -1;
    }
  }
  *to = key < 0 ? end : key;
}

void sites(Device& device, const Relation& r, int64_t batch, const int32_t* coords, int64_t rows, int64_t capacity,
           int32_t* out_coords, int32_t* count) {
  const Reach reach(r);
  const Box out = out_box(r, batch);
  const ListScratch scratch = checked(device, ListScratch(rows * reach.all, false, device.workspace.data));
  count_unused_sites(device.stream, in_box(r, batch), coords, rows, nullptr, scratch.unused);
  cuda::launch(device.stream, {blocks_of(rows * reach.all, kListThreads), kListThreads}, reached_keys_kernel<>, r,
               reach, Divisor(reach.all), keys_end(out), coords, rows, scratch.unused, scratch.sort.keys[0]);
  list_sorted(device, out, capacity, scratch, {out_coords, count, nullptr, nullptr, nullptr});
}

// ---- The kernel map
// -----------------------------------------------------------------------------------------------------

struct SortedKeys {
  const int64_t* keys;
  int64_t rows;
  const int32_t* unused;

  // The first place in [begin, end) that is not below a key.
  __device__ int64_t lower_bound(int64_t begin, int64_t end, int64_t key) const {
    while (begin < end) {
      const int64_t middle = begin + (end - begin) / 2;
      if (keys[middle] < key)
        begin = middle + 1;
      else
        end = middle;
    }
    return begin;
  }
};

// Where a tap takes an output along an axis; negative for nowhere.
__device__ inline int64_t input_at(const Axis& x, int64_t out, int64_t tap) {
  const int64_t scaled = x.out_stride * out + x.offset + tap * x.step;
  if (scaled < 0) return -1;
  const int64_t at = x.in_stride == 1 ? scaled : scaled / x.in_stride;
  return at * x.in_stride == scaled && at < x.in ? at : -1;
}

// A thread has an output and a row of taps, which differ along the last axis alone: one bisection, and a short way from
// one to the next.
template <class = void>
__global__ void kernel_map_kernel(Relation r, SortedKeys in, const int32_t* out_coords, int64_t out_rows,
                                  Divisor outputs, int64_t tap_rows, const int32_t* unused_out, int32_t* map) {
  constexpr int kSteps = 8;
  int64_t tap_row = thread_number();
  const int64_t m = outputs.divide(tap_row);
  if (tap_row >= tap_rows) return;
  const int last = r.dims - 1;
  const Axis& x = r.axis[last];
  map += tap_row * x.kernel * out_rows + m;
  const int64_t stored = in.rows - *in.unused;
  bool inside = m < out_rows - *unused_out;
  const int32_t* site = out_coords + m * (r.dims + 1);
  int64_t line = 0, rest_taps = tap_rows;
  if (inside) line = site[0];
  for (int a = 0; a < last && inside; ++a) {
    rest_taps /= r.axis[a].kernel;
    const int64_t tap = tap_row / rest_taps;
    tap_row -= tap * rest_taps;
    const int64_t at = input_at(r.axis[a], site[1 + a], tap);
    inside = at >= 0;
    line = line * r.axis[a].in + at;
  }
  int64_t place = -1;
  for (int64_t j = 0; j < x.kernel; ++j) {
    const int64_t tap = x.step < 0 ? x.kernel - 1 - j : j;  // so that keys ascend
    const int64_t at = inside ? input_at(x, site[1 + last], tap) : -1;
    int64_t row = in.rows;
    if (at >= 0) {
      const int64_t key = line * x.in + at;
      if (place < 0) {
        place = in.lower_bound(0, stored, key);
      } else {
        int step = 0;
        for (; step < kSteps && place < stored && in.keys[place] < key; ++step) ++place;
        if (step == kSteps) place = in.lower_bound(place, stored, key);
      }
      if (place < stored && in.keys[place] == key) row = place;
    }
    map[tap * out_rows] = static_cast<int32_t>(row);
  }
}

void kernel_map(Device& device, const Relation& r, int64_t batch, const int32_t* coords, int64_t rows,
                const int32_t* out_coords, int64_t out_rows, int32_t* map) {
  if (out_rows == 0) return;
  const MapScratch scratch = checked(device, MapScratch(rows, device.workspace.data));
  count_unused_sites(device.stream, in_box(r, batch), coords, rows, scratch.keys, scratch.unused_in);
  count_unused_sites(device.stream, out_box(r, batch), out_coords, out_rows, nullptr, scratch.unused_out);
  const int64_t tap_rows = r.taps() / r.axis[r.dims - 1].kernel;
  cuda::launch(device.stream, {blocks_of(out_rows * tap_rows, kListThreads), kListThreads}, kernel_map_kernel<>, r,
               SortedKeys{scratch.keys, rows, scratch.unused_in}, out_coords, out_rows, Divisor(out_rows), tap_rows,
               scratch.unused_out, map);
}

}  // namespace
}  // namespace jaxsparse::voxel

#include "sites_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelSortRows, SortRows<cuda::Stream>, "batch", "spatial_shape");
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelSites, Sites<cuda::Stream>, "batch", "in_shape", "out_shape", "kernel",
                       "in_stride", "out_stride", "offset", "step");
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelKernelMap, KernelMap<cuda::Stream>, "batch", "in_shape", "out_shape", "kernel",
                       "in_stride", "out_stride", "offset", "step");

}  // namespace jaxsparse::voxel
