import CTorch
import Foundation
import Synchronization
package import Torch

/// Processes that compute together: libtorch's c10d, Gloo on the CPU and NCCL on GPUs.
///
/// Every rank calls the same collective operations in the same order. A rank that is lost, killed or stuck, ends all others within 30 seconds
/// with one sentence on standard error and the exit status `ProcessGroup.lostRankStatus`, whatever they are doing.
// Unchecked for `c`, which only calls of c10d use; they may come from any thread.
package final class ProcessGroup: @unchecked Sendable {
  /// How the values of the ranks become one.
  package enum Reduction: Sendable { case sum, mean, max }

  /// The exit status of a process that ends because another rank was lost.
  package static let lostRankStatus = RankWatch.exitStatus
  /// Whether this build has process groups on GPUs.
  package static var hasNCCL: Bool { ct_has_nccl() }

  package let rank: Int
  package let size: Int
  package let device: Device
  private let store: RendezvousStore
  private let c: ct_group
  private let watch: RankWatch

  /// Meets the other ranks.
  ///
  /// - Parameters:
  ///   - meeting: how long to wait for the other ranks to come.
  ///   - timeout: how long one operation may wait for ranks that live but do something else; nil for transfers of the CPU's tensors
  ///     without a deadline, where a rank waits until it is told what to do.
  ///   - onLoss: what is done, on a thread of its own, before a lost rank ends this process: undoing what is half done.
  /// - Throws: `TorchError` when they do not come, or for CUDA in a build without NCCL.
  package init(
    _ launch: LaunchEnvironment, device: Device, meeting: Duration = .seconds(300), timeout: Duration? = .seconds(1800),
    onLoss: @escaping @Sendable () -> Void = {}
  ) throws {
    (rank, size, self.device) = (launch.rank, launch.size, device)
    if case .cuda = device, !ProcessGroup.hasNCCL {
      throw TorchError("Several GPUs cannot work together: this build has no NCCL.")
    }
    // Gloo writes to connections that a lost rank has closed: an error, on which the watch ends this process with a sentence, and no signal.
    signal(SIGPIPE, SIG_IGN)
    do {
      store = try RendezvousStore(launch, isHost: launch.rank == 0, size: launch.size, timeout: meeting)
      var pointer: ct_group?
      // NCCL's transfers keep a deadline, as a GPU computes while it waits.
      let longest = timeout ?? (device.isCPU ? meeting : .seconds(1800))
      try throwing(
        ct_group_new(
          store.c, device.c, Int32(launch.rank), Int32(launch.size), longest.milliseconds, timeout != nil, &pointer))
      guard let pointer else { throw TorchError("there is no group") }
      c = pointer
      watch = try RankWatch(launch, timeout: meeting, onLoss: onLoss)
    } catch let error as TorchError {
      throw TorchError(
        ofLibrary: error.description,
        during:
          "The \(launch.size) ranks did not meet at \(launch.address):\(launch.port) within \(Int(meeting.seconds)) s")
    }
  }

  deinit { ct_group_free(c) }

  /// Leaves the group: this rank is done, or has failed for a reason on which the others end too. No operation may follow. Rank 0
  /// waits until all others are done.
  package func leave(failure: String? = nil) { watch.leave(failure: failure) }

  // MARK: - Collective operations, all in place

  /// Every rank gets the sum, mean or largest of all ranks' values.
  package func allReduce(_ tensor: Tensor, _ reduction: Reduction = .sum) throws {
    try checkMean(tensor, reduction)
    try run(tensor) { ct_group_all_reduce(c, tensor.c, reduction == .max) }
    if reduction == .mean { tensor.div_(Tensor(Float(size), device: device)) }
  }

  /// Rank r gets the sums, or means, of the r-th of as many equal parts as there are ranks; returns that part, a view.
  ///
  /// The other parts are without meaning afterwards. Gloo adds up the whole on every rank; NCCL sends only what is needed.
  @discardableResult
  package func reduceScatter(_ whole: Tensor, _ reduction: Reduction = .sum) throws -> Tensor {
    guard reduction != .max else { throw TorchError("Only sums and means are scattered.") }
    try checkMean(whole, reduction)
    try run(whole) { ct_group_reduce_scatter(c, whole.c) }
    let part = part(of: whole)
    if reduction == .mean { part.div_(Tensor(Float(size), device: device)) }
    return part
  }

  private func checkMean(_ tensor: Tensor, _ reduction: Reduction) throws {
    guard reduction != .mean || tensor.dtype.isFloatingPoint else {
      throw TorchError("There is no mean of \(tensor.dtype) values.")
    }
  }

  /// Every rank gets the r-th of the equal parts of `whole` from rank r.
  package func allGather(_ whole: Tensor) throws { try run(whole) { ct_group_all_gather(c, whole.c) } }

  /// Every rank gets the values of one.
  package func broadcast(_ tensor: Tensor, from root: Int = 0) throws {
    guard (0..<size).contains(root) else { throw TorchError("There is no rank \(root) among \(size).") }
    try run(tensor) { ct_group_broadcast(c, tensor.c, Int32(root)) }
  }

  /// Waits until every rank is here.
  package func barrier() throws {
    let sign = Tensor.ones([1], device: device)
    try allReduce(sign)
    _ = sign.item
  }

  /// Whether any rank says so.
  package func any(_ holds: Bool) throws -> Bool {
    let sign = Tensor([Int64(holds ? 1 : 0)], device: device)
    try allReduce(sign, .max)
    return sign.item != 0
  }

  private func part(of whole: Tensor) -> Tensor {
    let length = whole.count / size
    return whole.narrow(0, rank * length, length)
  }

  private func run(_ tensor: Tensor, _ operation: () -> ct_status) throws {
    try check(tensor)
    let status = withExtendedLifetime(tensor) { operation() }
    if status != 0 { throw failure() }
  }

  /// What c10d refuses on one rank alone would leave the others waiting, so it is checked before.
  ///
  /// - Parameter isTransfer: whether it goes from one rank to another: Gloo then takes the CPU's tensors beside GPUs.
  private func check(_ tensor: Tensor, isTransfer: Bool = false) throws {
    guard tensor.isContiguous else { throw TorchError("Only contiguous tensors are sent to other ranks.") }
    guard tensor.device == device || isTransfer && tensor.device.isCPU else {
      throw TorchError("A tensor on \(tensor.device) is not sent by a process group on \(device).")
    }
  }

  /// The failure of the last call. Mostly the connection to a rank that died: the watch, which knows which one, is given the time to
  /// end the process.
  fileprivate func failure() -> TorchError {
    let error = TorchError(ofLibrary: String(cString: ct_last_error()))
    watch.awaitVerdict()
    return error
  }
}

// MARK: - From one rank to another

extension ProcessGroup {
  /// Sends a tensor to one rank, which receives it into one of the same type and size; returns when it has been taken. Tensors of the CPU
  /// are sent beside GPUs too.
  ///
  /// Two ranks that both send first wait for each other: start one of the two transfers with `startSend` or `startReceive`.
  /// - Parameter tag: tells messages between the same two ranks apart, so that they may be received in another order than they were
  ///   sent. NCCL has no tags: there the order of the calls must be the same on both ranks.
  /// - Throws: `TorchError` when the other rank does not receive within the group's timeout.
  package func send(_ tensor: Tensor, to rank: Int, tag: Int = 0) throws {
    try startSend(tensor, to: rank, tag: tag).wait()
  }

  /// Overwrites a tensor with what one rank sends.
  ///
  /// - Throws: `TorchError` when the other rank does not send within the group's timeout.
  package func receive(into tensor: Tensor, from rank: Int, tag: Int = 0) throws {
    try startReceive(into: tensor, from: rank, tag: tag).wait()
  }

  /// As `send`, without waiting. The tensor must not change before the transfer has ended.
  package func startSend(_ tensor: Tensor, to rank: Int, tag: Int = 0) throws -> Transfer {
    try start(tensor, "send to", rank, tag, ct_group_send)
  }

  /// As `receive`, without waiting. The tensor must not be used before the transfer has ended.
  package func startReceive(into tensor: Tensor, from rank: Int, tag: Int = 0) throws -> Transfer {
    try start(tensor, "receive from", rank, tag, ct_group_receive)
  }

  private func start(
    _ tensor: Tensor, _ verb: String, _ other: Int, _ tag: Int,
    _ call: (ct_group, ct_tensor, Int32, Int32, UnsafeMutablePointer<ct_transfer?>) -> ct_status
  ) throws -> Transfer {
    guard (0..<size).contains(other) else { throw TorchError("There is no rank \(other) among \(size).") }
    guard other != rank else { throw TorchError("Rank \(rank) cannot \(verb) itself.") }
    guard let tag = Int32(exactly: tag), tag >= 0 else {
      throw TorchError("\(tag) is not a tag: tags are 0 to \(Int32.max).")
    }
    try check(tensor, isTransfer: true)
    let purpose = "Rank \(rank) could not \(verb) rank \(other)"
    var pointer: ct_transfer?
    let status = withExtendedLifetime(tensor) { call(c, tensor.c, Int32(other), tag, &pointer) }
    guard status == 0, let pointer else { throw TorchError(ofLibrary: failure().description, during: purpose) }
    return Transfer(pointer, self, purpose)
  }

  /// A tensor on its way from one rank to another.
  ///
  /// Wait for each one that is started; a group in which one was dropped before its end is of no further use.
  // Unchecked for `c`, which is used under the lock.
  package final class Transfer: @unchecked Sendable {
    private let c: ct_transfer
    private let group: ProcessGroup
    private let purpose: String
    private let lock = Mutex(())
    private let ended = Atomic(false)

    fileprivate init(_ c: ct_transfer, _ group: ProcessGroup, _ purpose: String) {
      (self.c, self.group, self.purpose) = (c, group, purpose)
    }

    deinit { ct_transfer_free(c) }

    /// Whether somebody has waited for its end.
    package var hasEnded: Bool { ended.load(ordering: .relaxed) }

    /// Returns when the tensor has been sent or is there; at once where that is known. On a GPU only the current stream waits.
    ///
    /// - Throws: `TorchError` when the other rank does not do its part within the group's timeout.
    package func wait() throws {
      try lock.withLock { _ in
        // c10d waits for another one the second time.
        guard !hasEnded else { return }
        if ct_transfer_wait(c) != 0 { throw TorchError(ofLibrary: group.failure().description, during: purpose) }
        ended.store(true, ordering: .relaxed)
      }
    }
  }
}
