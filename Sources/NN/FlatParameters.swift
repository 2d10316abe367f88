import Distributed
import Torch

/// Parameters of one type in flat buffers, which are split into equal shards.
///
/// Offsets do not depend on the number of ranks; only the padding at the end does.
final class FlatParameters {
  /// One parameter's place in the buffers.
  struct Slot {
    let name: String
    let parameter: Tensor
    /// Its place in the list that the caller gave.
    let index: Int
    let offset: Int
    let count: Int
    var range: Range<Int> { offset..<offset + count }
  }

  /// The part of a parameter in this rank's shard, as views of the shard's buffers.
  struct Piece {
    let index: Int
    let master: Tensor
    let gradient: Tensor
    let first: Tensor
    let second: Tensor
  }

  /// Parameters and shards are aligned to so many elements, for vector instructions.
  private static let alignment = 64

  let dtype: DType
  let slots: [Slot]
  /// Elements of the parameters with the gaps between them, without the padding at the end.
  let usedLength: Int
  /// This rank's part of the whole length.
  let share: Range<Int>
  /// The working weights, `[length]` in `dtype`: the parameters are views of it.
  let working: Tensor
  /// Parameters whose layout in memory is not the flat one; they are copies.
  private let copies: [(parameter: Tensor, view: Tensor)]
  /// fp32, `[length]`; undefined outside of this rank's shard after the reduce-scatter.
  let gradients: Tensor
  /// The views of `gradients` in the shapes of the parameters, in the order of the slots.
  private let gradientViews: [Tensor]
  /// This rank's shard of the fp32 master weights; for fp32 parameters a view of `working`.
  let master: Tensor
  let first: Tensor
  let second: Tensor
  /// This rank's shard of the EMA, from its start on.
  var average: Tensor?
  let pieces: [Piece]

  var length: Int { gradients.count }

  init(_ parameters: [(index: Int, name: String, tensor: Tensor)], _ dtype: DType, _ group: ProcessGroup?) throws {
    let (rank, size) = (group?.rank ?? 0, group?.size ?? 1)
    self.dtype = dtype
    var slots: [Slot] = []
    var end = 0
    for (index, name, tensor) in parameters {
      slots.append(Slot(name: name, parameter: tensor, index: index, offset: end, count: tensor.count))
      end = FlatParameters.end(of: tensor.count, after: end)
    }
    self.slots = slots
    usedLength = end
    let shareLength = FlatParameters.shareLength(of: end, ranks: size)
    share = rank * shareLength..<(rank + 1) * shareLength
    let device = parameters[0].tensor.device
    let (working, gradients) = (
      Tensor.zeros([shareLength * size], dtype, device: device),
      Tensor.zeros([shareLength * size], device: device)
    )
    var copies: [(parameter: Tensor, view: Tensor)] = []
    var gradientViews: [Tensor] = []
    for slot in slots {
      let shape = slot.parameter.shape
      let view = working.narrow(0, slot.offset, slot.count).reshape(shape)
      view.copy_(slot.parameter)
      if slot.parameter.isContiguous { slot.parameter.share(view) } else { copies.append((slot.parameter, view)) }
      gradientViews.append(gradients.narrow(0, slot.offset, slot.count).reshape(shape))
    }
    // All ranks begin with the values of rank 0.
    try group?.broadcast(working)
    for (parameter, view) in copies { parameter.copy_(view) }
    let part = working.narrow(0, share.lowerBound, shareLength)
    let master = dtype == .float32 ? part : part.to(.float32)
    let first = Tensor.zeros([shareLength], device: device)
    let second = Tensor.zeros([shareLength], device: device)
    let share = share
    pieces = slots.compactMap { slot in
      let own = slot.range.clamped(to: share)
      guard !own.isEmpty else { return nil }
      let start = own.lowerBound - share.lowerBound
      return Piece(
        index: slot.index, master: master.narrow(0, start, own.count),
        gradient: gradients.narrow(0, own.lowerBound, own.count), first: first.narrow(0, start, own.count),
        second: second.narrow(0, start, own.count))
    }
    (self.working, self.gradients, self.copies, self.gradientViews) = (working, gradients, copies, gradientViews)
    (self.master, self.first, self.second) = (master, first, second)
  }

  private static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
  static func end(of count: Int, after end: Int) -> Int { aligned(end + count) }
  static func shareLength(of length: Int, ranks: Int) -> Int { aligned((length + ranks - 1) / ranks) }

  /// This rank's shard of the gradients: a view.
  var gradientShare: Tensor { gradients.narrow(0, share.lowerBound, share.count) }

  /// Adds the parameters' gradients, times `scale`, to the buffer and frees them; marks in `present` which there were.
  func takeGradients(scale: Double, _ present: inout [Bool]) {
    for (slot, view) in zip(slots, gradientViews) {
      guard let gradient = slot.parameter.grad else { continue }
      view.add_(gradient, alpha: scale)
      slot.parameter.grad = nil
      present[slot.index] = true
    }
  }

  /// All-gathers the master weights into the parameters, rounded once.
  func publish(_ group: ProcessGroup?) throws {
    if dtype != .float32 { working.narrow(0, share.lowerBound, share.count).copy_(master) }
    try group?.allGather(working)
    for (parameter, view) in copies { parameter.copy_(view) }
  }

  /// All shards of a buffer, of which `part` is this rank's.
  func collected(_ part: Tensor, _ group: ProcessGroup?) throws -> Tensor {
    guard let group else { return part }
    let whole = Tensor.empty([length], device: part.device)
    whole.narrow(0, share.lowerBound, share.count).copy_(part)
    try group.allGather(whole)
    return whole
  }

  /// The parameters' own parts of a buffer as long as `gradients`, in their shapes: views.
  func views(of whole: Tensor) -> [(index: Int, name: String, tensor: Tensor)] {
    slots.map { ($0.index, $0.name, whole.narrow(0, $0.offset, $0.count).reshape($0.parameter.shape)) }
  }
}
