import Basics
import Distributed
import Foundation
import Models
import Torch

/// What the first process of a pipeline that serves tells all others, which do it in this order.
enum PipelineOrder: Codable {
  /// A session begins, by its seed. With it come sink, motion and text; see `LiveAvatarConditions`.
  case begin(session: Int, seed: UInt64)
  /// Another direction; its text comes with it.
  case setText(session: Int)
  /// The session's next block, by the number under which its pictures come back; its rows of features come with it.
  case block(session: Int, number: Int)
  /// No block of the session follows.
  case end(session: Int)
  /// Nothing follows.
  case stop
}

/// A message of an order: JSON in a tensor of one size, then the tensors that it names.
private struct Envelope: Codable {
  struct Layout: Codable {
    var dtype: DType
    var shape: [Int]
  }

  static let size = 1024
  var order: PipelineOrder
  var tensors: [Layout]
}

extension PipelineOrder {
  /// Waits for the next order, without a deadline where the group has none: nothing is said while nobody talks.
  ///
  /// - Returns: the order and what comes with it, on the CPU.
  static func receive(from group: ProcessGroup) throws -> (order: PipelineOrder, tensors: [Tensor]) {
    let header = Tensor.zeros([Envelope.size], .uint8)
    try group.receive(into: header, from: 0, tag: PipelineTag.order)
    let text = header.bytes().prefix { $0 != 0 }
    guard let envelope = try? JSONDecoder().decode(Envelope.self, from: Data(text)) else {
      throw TorchError("Rank \(group.rank) of the pipeline does not understand rank 0: do all run the same program?")
    }
    let tensors = try envelope.tensors.map { layout in
      let tensor = Tensor.zeros(layout.shape, layout.dtype)
      try group.receive(into: tensor, from: 0, tag: PipelineTag.tensor)
      return tensor
    }
    return (envelope.order, tensors)
  }
}

/// Sends orders. Not safe for use from several threads at once.
final class PipelineOrders {
  private let group: ProcessGroup
  /// Of the newest orders. Others take an order when they come to it, some blocks later.
  private var onTheWay: [[ProcessGroup.Transfer]] = []
  private var hasStopped = false

  private static let mostOnTheWay = 32

  init(_ group: ProcessGroup) { self.group = group }

  /// Sends an order to all other processes; returns before they have it.
  func send(_ order: PipelineOrder, _ tensors: [Tensor] = []) throws {
    guard !hasStopped else { throw LiveTalkError("The pipeline has been stopped.") }
    let tensors = tensors.map { $0.to(.cpu).contiguous() }
    let envelope = Envelope(order: order, tensors: tensors.map { Envelope.Layout(dtype: $0.dtype, shape: $0.shape) })
    let text = Array(try envelope.jsonText().utf8)
    precondition(text.count < Envelope.size, "an order is short")
    let header = Tensor(text + [UInt8](repeating: 0, count: Envelope.size - text.count))
    onTheWay.append(
      try (1..<group.size).flatMap { rank in
        try [group.startSend(header, to: rank, tag: PipelineTag.order)]
          + tensors.map { try group.startSend($0, to: rank, tag: PipelineTag.tensor) }
      })
    while onTheWay.count > Self.mostOnTheWay { try awaitOldest() }
  }

  /// Sends the last order, and waits until the others have it.
  func stop() throws {
    guard !hasStopped else { return }
    try send(.stop)
    hasStopped = true
    while !onTheWay.isEmpty { try awaitOldest() }
  }

  private func awaitOldest() throws { for transfer in onTheWay.removeFirst() { try transfer.wait() } }
}
