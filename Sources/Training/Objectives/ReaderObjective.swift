package import Models
package import Torch

/// Pictures of people in pairs, for the face reader.
package struct ReaderBatch {
  /// `[2B, 3, side, side]` in [-1, 1]: two pictures of each person, one after the other.
  package let pictures: Tensor
  /// `[2B, columns]` in the reader's units.
  package let columns: Tensor
  /// Who is seen in each pair, as far as that is known.
  package let speakers: [String?]

  package init(pictures: Tensor, columns: Tensor, speakers: [String?]) {
    (self.pictures, self.columns, self.speakers) = (pictures, columns, speakers)
  }
}

/// The face reader's loss: a smooth L1 of the columns, and a supervised contrastive loss of the identity vectors (Khosla et al. 2020).
package struct ReaderObjective {
  /// Weight of the mouth's columns, where others have 1.
  package var mouthWeight = 3.0
  package var identityWeight = 0.2
  package var temperature = 0.1

  package struct Result {
    package let loss: Tensor
    package let columns: Tensor
    package let identity: Tensor
    /// Share of pictures whose nearest neighbour is their partner.
    package let accuracy: Tensor
    /// Mean absolute error of the mouth's opening.
    package let mouthError: Tensor
  }

  package func callAsFunction(_ reader: FaceReader, _ batch: ReaderBatch) -> Result {
    let reading = reader(batch.pictures, truth: batch.columns)
    let device = batch.pictures.device
    let spreads = Tensor(FaceColumn.allCases.map { Float($0.spread) }, device: device)
    let mouth: Set<FaceColumn> = [.mouthOpen, .mouthWidth, .mouthRound, .lipTopY, .lipBottomY]
    let weights = FaceColumn.allCases.map { mouth.contains($0) ? mouthWeight : 1 }
    let total = weights.reduce(0, +)
    let errors = ((reading.columns - batch.columns) / spreads).square()
    let columns =
      (((errors + 1).sqrt() - 1) * Tensor(weights.map { Float($0 / total) }, device: device)).sum(1).mean()
    let (identity, accuracy) = contrast(reading.identity, batch.speakers)
    let opening = FaceColumn.mouthOpen.rawValue
    let mouthError = (reading.columns.select(1, opening) - batch.columns.select(1, opening)).abs().mean()
    return Result(
      loss: columns + identity * identityWeight, columns: columns.detach(), identity: identity.detach(),
      accuracy: accuracy, mouthError: mouthError.detach())
  }

  /// Cross entropy of the partner among the batch's pictures; other pictures of the same person are masked out.
  private func contrast(_ vectors: Tensor, _ speakers: [String?]) -> (loss: Tensor, accuracy: Tensor) {
    let count = vectors.size(0)
    var mask = [Float](repeating: 0, count: count * count)
    for row in 0..<count {
      for column in 0..<count where column != row ^ 1 {
        let isSame = speakers[row / 2] != nil && speakers[row / 2] == speakers[column / 2]
        if column == row || isSame { mask[row * count + column] = -1e4 }
      }
    }
    let logits =
      vectors.matmul(vectors.transpose(0, 1)) / temperature + Tensor(mask, [count, count], device: vectors.device)
    let partners = Tensor((0..<count).map { Int64($0 ^ 1) }, device: vectors.device)
    let found = (logits.argmax(1) .== partners).to(.float32).mean()
    return (logits.crossEntropy(partners), found)
  }
}
