import Testing
import Torch

/// Some entries of a leaf's gradient beside the differences of what `loss` gives.
func checkGradient(of leaf: Tensor, entries: [Int], loss: () -> Tensor) {
  leaf.grad = nil
  loss().backward()
  let gradient = leaf.grad?.array(Double.self) ?? []
  #expect(gradient.count == leaf.count)
  let step = 1e-5
  for entry in entries where entry < gradient.count {
    let difference = withGradients(false) {
      // A gradient is row-major, and so is the order in which a reshape numbers a copy; the leaf itself may be strided.
      let bump = Tensor((0..<leaf.count).map { $0 == entry ? step : 0 }, leaf.shape)
      leaf.add_(bump)
      let above = loss().item
      leaf.add_(bump, alpha: -2)
      let below = loss().item
      leaf.add_(bump)
      return (above - below) / (2 * step)
    }
    #expect(abs(difference - gradient[entry]) < 1e-6 * max(1, abs(difference)))
  }
}
