import CTorch

/// Processes that compute together: libtorch's c10d, Gloo on the CPU and NCCL on GPUs.
///
/// Every rank calls the same operations in the same order. A rank that is lost, killed or stuck, ends all others within 30 seconds
/// with one sentence on standard error and the exit status `ProcessGroup.lostRankStatus`, whatever they are doing.
public final class ProcessGroup: @unchecked Sendable {
  /// How the values of the ranks become one.
  public enum Reduction: Sendable { case sum, mean, max }

  /// The exit status of a process that ends because another rank was lost.
  public static let lostRankStatus = RankWatch.exitStatus
  /// Whether this build has process groups on GPUs.
  public static var hasNCCL: Bool { ct_has_nccl() }

  public let rank: Int
  public let size: Int
  public let device: Device
  private let store: RendezvousStore
  private let c: ct_group
  private let watch: RankWatch

  /// Meets the other ranks.
  ///
  /// - Parameters:
  ///   - meeting: how long to wait for the other ranks to come.
  ///   - timeout: how long one operation may wait for ranks that live but do something else.
  /// - Throws: `TorchError` when they do not come, or for CUDA in a build without NCCL.
  public init(
    _ launch: LaunchEnvironment, device: Device, meeting: Duration = .seconds(300), timeout: Duration = .seconds(1800)
  ) throws {
    (rank, size, self.device) = (launch.rank, launch.size, device)
    if case .cuda = device, !ProcessGroup.hasNCCL {
      throw TorchError("Several GPUs cannot work together: this build has no NCCL.")
    }
    do {
      store = try RendezvousStore(launch, isHost: launch.rank == 0, size: launch.size, timeout: meeting)
      var pointer: ct_group?
      try throwing(
        ct_group_new(
          store.c, device.c, Int32(launch.rank), Int32(launch.size), timeout.milliseconds, &pointer))
      guard let pointer else { throw TorchError("there is no group") }
      c = pointer
      watch = try RankWatch(launch, timeout: meeting)
    } catch let error as TorchError {
      throw TorchError(
        "The \(launch.size) ranks did not meet at \(launch.address):\(launch.port) within \(Int(meeting.seconds)) s: "
          + error.description)
    }
  }

  deinit { ct_group_free(c) }

  /// Takes leave of the other ranks: this one is done, or has failed for a reason on which the others end too. No operation may
  /// follow. Rank 0 waits until all others are done.
  public func leave(failure: String? = nil) { watch.leave(failure: failure) }

  // MARK: - Operations, all in place

  /// Every rank gets the sum, mean or largest of all ranks' values.
  public func allReduce(_ tensor: Tensor, _ reduction: Reduction = .sum) throws {
    try checkMean(tensor, reduction)
    try run(tensor) { ct_group_all_reduce(c, tensor.c, reduction == .max) }
    if reduction == .mean { tensor.div_(Tensor(Float(size), device: device)) }
  }

  /// Rank r gets the sums, or means, of the r-th of as many equal parts as there are ranks; returns that part, a view.
  ///
  /// The other parts are without meaning afterwards. Gloo adds up the whole on every rank; NCCL sends only what is needed.
  @discardableResult
  public func reduceScatter(_ whole: Tensor, _ reduction: Reduction = .sum) throws -> Tensor {
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
  public func allGather(_ whole: Tensor) throws { try run(whole) { ct_group_all_gather(c, whole.c) } }

  /// Every rank gets the values of one.
  public func broadcast(_ tensor: Tensor, from root: Int = 0) throws {
    guard (0..<size).contains(root) else { throw TorchError("There is no rank \(root) among \(size).") }
    try run(tensor) { ct_group_broadcast(c, tensor.c, Int32(root)) }
  }

  /// Waits until every rank is here.
  public func barrier() throws {
    let sign = Tensor.ones([1], device: device)
    try allReduce(sign)
    _ = sign.item
  }

  /// Whether any rank says so.
  public func any(_ holds: Bool) throws -> Bool {
    let sign = Tensor([Int64(holds ? 1 : 0)], device: device)
    try allReduce(sign, .max)
    return sign.item != 0
  }

  private func part(of whole: Tensor) -> Tensor {
    let length = whole.count / size
    return whole.narrow(0, rank * length, length)
  }

  /// What c10d refuses on one rank alone would leave the others waiting, so it is checked before.
  private func run(_ tensor: Tensor, _ operation: () -> ct_status) throws {
    guard tensor.isContiguous else { throw TorchError("Only contiguous tensors are sent to other ranks.") }
    guard tensor.device == device else {
      throw TorchError("A tensor on \(tensor.device) is not sent by a process group on \(device).")
    }
    let status = withExtendedLifetime(tensor) { operation() }
    guard status != 0 else { return }
    let error = TorchError(String(cString: ct_last_error()))
    // Mostly the connection to a rank that died: the watch knows which.
    watch.awaitVerdict()
    throw error
  }
}
