// Processes that work together: c10d's store and process groups.
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "distributed.h"
#include "shim.h"

using namespace ct;

namespace {

using Milliseconds = std::chrono::milliseconds;

struct Store {
  c10::intrusive_ptr<c10d::TCPStore> tcp;
};

struct Group {
  c10::intrusive_ptr<c10d::Backend> backend;
  // Of GPUs: for tensors of the CPU.
  c10::intrusive_ptr<c10d::Backend> host;
  int rank, size;
  bool is_gloo;
  bool has_deadline;

  c10d::Backend &backend_of(const at::Tensor &t) const { return host && t.is_cpu() ? *host : *backend; }

  at::Tensor part(const at::Tensor &whole) const {
    TORCH_CHECK(whole.dim() == 1 && whole.size(0) % size == 0, "a tensor of shape ", whole.sizes(), " has no ", size,
                " equal parts");
    const auto length = whole.size(0) / size;
    return whole.narrow(0, rank * length, length);
  }
};

struct Transfer {
  // Freed after the work, whose buffer points into it.
  at::Tensor tensor;
  c10::intrusive_ptr<c10d::Work> work;
  bool has_deadline;
};

// c10d has no word for this. Gloo adds it to the time of day in nanoseconds, which must not overflow.
constexpr Milliseconds for_ever = std::chrono::hours(10 * 365 * 24);

// NCCL's transfers are begun by both sides at about the same time, and keep theirs.
bool deadline(const Group &g, const at::Tensor &t) { return g.has_deadline || !t.is_cpu(); }

Store &store(ct_store s) { return *reinterpret_cast<Store *>(s); }
Group &group(ct_group g) { return *reinterpret_cast<Group *>(g); }

template <class Options>
void sum(const Group &g, at::Tensor t, Options options, c10d::ReduceOp::RedOpType op) {
  options.reduceOp = op;
  std::vector<at::Tensor> tensors{std::move(t)};
  g.backend->allreduce(tensors, options)->wait();
}

}  // namespace

ct_status ct_store_open(const char *host, int32_t port, bool is_host, int32_t size, int64_t timeout_ms, ct_store *out) {
  return checked([&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = is_host;
    if (size > 0) options.numWorkers = size;
    options.waitWorkers = size > 0;
    options.timeout = Milliseconds(timeout_ms);
    *out = reinterpret_cast<ct_store>(new Store{c10::make_intrusive<c10d::TCPStore>(host, options)});
  });
}

ct_status ct_store_set(ct_store s, const char *key, const void *value, size_t size) {
  return checked([&] {
    const auto bytes = static_cast<const uint8_t *>(value);
    store(s).tcp->set(key, std::vector<uint8_t>(bytes, bytes + size));
  });
}

ct_status ct_store_get(ct_store s, const char *key, void *buffer, size_t capacity, size_t *size) {
  return checked([&] {
    const auto value = store(s).tcp->get(key);
    *size = value.size();
    std::copy_n(value.begin(), std::min(capacity, value.size()), static_cast<uint8_t *>(buffer));
  });
}

void ct_store_free(ct_store s) { delete reinterpret_cast<Store *>(s); }

ct_status ct_group_new(ct_store s, ct_device d, int32_t rank, int32_t size, int64_t timeout_ms, bool has_deadline,
                       ct_group *out) {
  return checked([&] {
    const bool is_gloo = device(d).is_cpu();
    TORCH_CHECK(is_gloo || device(d).is_cuda(), "there are process groups on the CPU and on CUDA devices only");
    const Milliseconds timeout(timeout_ms);
    const auto keys = [&](const char *name) { return c10::make_intrusive<c10d::PrefixStore>(name, store(s).tcp); };
    const auto gloo = [&](const char *name) {
      return c10::make_intrusive<c10d::ProcessGroupGloo>(keys(name), rank, size,
                                                         c10d::ProcessGroupGloo::Options::create_default(timeout));
    };
    c10::intrusive_ptr<c10d::Backend> backend, host;
    if (is_gloo) {
      backend = gloo("group");
    } else {
      backend = make_nccl(keys("group"), rank, size, timeout);
      host = gloo("host");
    }
    *out = reinterpret_cast<ct_group>(new Group{backend, host, rank, size, is_gloo, has_deadline});
  });
}

ct_status ct_group_all_reduce(ct_group g, ct_tensor t, bool max) {
  return checked([&] {
    sum(group(g), ref(t), c10d::AllreduceOptions(), max ? c10d::ReduceOp::MAX : c10d::ReduceOp::SUM);
  });
}

ct_status ct_group_reduce_scatter(ct_group g, ct_tensor whole) {
  return checked([&] {
    auto in = ref(whole);
    auto out = group(g).part(in);
    if (group(g).is_gloo) {
      // c10d's own operation on Gloo is this same sum of everything, in a copy.
      sum(group(g), in, c10d::AllreduceOptions(), c10d::ReduceOp::SUM);
    } else {
      group(g).backend->_reduce_scatter_base(out, in, c10d::ReduceScatterOptions())->wait();
    }
  });
}

ct_status ct_group_all_gather(ct_group g, ct_tensor whole) {
  return checked([&] {
    auto out = ref(whole);
    auto in = group(g).part(out);
    group(g).backend->_allgather_base(out, in, c10d::AllgatherOptions())->wait();
  });
}

ct_status ct_group_broadcast(ct_group g, ct_tensor t, int32_t from) {
  return checked([&] {
    c10d::BroadcastOptions options;
    options.rootRank = from;
    std::vector<at::Tensor> tensors{ref(t)};
    group(g).backend->broadcast(tensors, options)->wait();
  });
}

ct_status ct_group_send(ct_group g, ct_tensor t, int32_t to, int32_t tag, ct_transfer *out) {
  return checked([&] {
    std::vector<at::Tensor> tensors{ref(t)};
    auto work = group(g).backend_of(ref(t)).send(tensors, to, tag);
    *out = reinterpret_cast<ct_transfer>(new Transfer{ref(t), std::move(work), deadline(group(g), ref(t))});
  });
}

ct_status ct_group_receive(ct_group g, ct_tensor t, int32_t from, int32_t tag, ct_transfer *out) {
  return checked([&] {
    std::vector<at::Tensor> tensors{ref(t)};
    auto work = group(g).backend_of(ref(t)).recv(tensors, from, tag);
    *out = reinterpret_cast<ct_transfer>(new Transfer{ref(t), std::move(work), deadline(group(g), ref(t))});
  });
}

ct_status ct_transfer_wait(ct_transfer t) {
  return checked([&] {
    const auto transfer = reinterpret_cast<Transfer *>(t);
    const bool done = transfer->has_deadline ? transfer->work->wait() : transfer->work->wait(for_ever);
    TORCH_CHECK(done, "the transfer was aborted");
  });
}

void ct_transfer_free(ct_transfer t) { delete reinterpret_cast<Transfer *>(t); }

void ct_group_free(ct_group g) { delete reinterpret_cast<Group *>(g); }
