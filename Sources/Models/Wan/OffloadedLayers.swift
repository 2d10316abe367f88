import Torch

/// Transformer layers whose weights stay in host memory (layer-by-layer offload). Two layers of the device's memory take them up in turn:
/// while one is computed, the weights of the next are copied.
///
/// Layers are read in order, and after the last one comes the first, so that the next pass finds it there. On a GPU the host's copy is
/// pinned, and copies go to a stream of their own; on the CPU a layer is copied when the one before it is asked for.
// Unchecked for what the device's memory holds: a model's passes are all on one thread, as their streams are.
final class OffloadedLayers: @unchecked Sendable {
  private let device: Device
  private let weights: [[Tensor]]  // of each layer, on the host
  private let places: [(layer: WanTransformerLayer, weights: [Tensor])]  // two, on the device
  /// The layer that each place holds.
  private var held: [Int?] = [nil, nil]
  private let copying: Stream

  /// - Parameter layers: with their weights on the host; see `onHost`.
  init(_ layers: [WanTransformerLayer], device: Device) {
    self.device = device
    weights = layers.map(Self.weights)
    places = layers.prefix(1).flatMap { layer in
      (0..<2).map { _ -> (layer: WanTransformerLayer, weights: [Tensor]) in
        let place = layer.mapped { Tensor.empty($0.shape, $0.dtype, device: device) }
        return (place, Self.weights(place))
      }
    }
    copying = Stream(device: device)
  }

  deinit { copying.synchronize() }

  /// A weight in host memory, from which the device copies it.
  static func onHost(_ weight: Tensor) -> Tensor {
    let host = weight.to(.cpu)
    return if case .cuda = weight.device { host.pinned() } else { host }
  }

  private static func weights(_ layer: WanTransformerLayer) -> [Tensor] {
    var all: [Tensor] = []
    _ = layer.mapped { weight in
      all.append(weight)
      return weight
    }
    return all
  }

  /// A layer on the device, until another is asked for; the one after it is on its way.
  func layer(_ index: Int) -> WanTransformerLayer {
    if !held.contains(index) { copy(index, to: 0) }
    let place = held.firstIndex(of: index) ?? 0
    // What is computed next waits for the copies that are under way, its own among them.
    Stream.current(device).wait(for: copying)
    let next = (index + 1) % weights.count
    if !held.contains(next) { copy(next, to: 1 - place) }
    return places[place].layer
  }

  private func copy(_ index: Int, to place: Int) {
    held[place] = index
    // The layer that was there may still be in work.
    copying.wait(for: .current(device))
    copying.run {
      for (weight, host) in zip(places[place].weights, weights[index]) { weight.copy_(host, waits: false) }
    }
  }
}
