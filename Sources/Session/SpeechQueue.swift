/// The sound that an engine's session has still to speak: utterances in the order in which they begin.
///
/// It keeps two versions of the same sound side by side: the one that is heard, and the one at another rate that drives the picture.
package struct SpeechQueue: Sendable {
  /// What one picture is shown with.
  package struct Piece: Hashable, Sendable {
    package var samples: [Float]
    package var drive: [Float]
    package var utterance: UtteranceID?
    package var offset = 0
    package var endsUtterance = false
  }

  private struct Entry: Sendable {
    let id: UtteranceID
    var samples: [Float] = []
    var drive: [Float] = []
    var taken = 0
    var isWhole = false
  }

  /// Samples per second of what is heard, and of what drives.
  package let rate, driveRate: Int
  private var entries: [Entry] = []
  /// Utterances up to this one are over or were stopped.
  private var last = UtteranceID(rawValue: 0)

  /// - Precondition: `rate` is a multiple of `driveRate`.
  package init(rate: Int, driveRate: Int) {
    precondition(rate % driveRate == 0, "\(rate) Hz is no multiple of \(driveRate) Hz.")
    (self.rate, self.driveRate) = (rate, driveRate)
  }

  private var ratio: Int { rate / driveRate }

  /// Whether sound of an utterance is still taken.
  package func takes(_ id: UtteranceID) -> Bool { id > last }

  package mutating func append(_ samples: [Float], drive: [Float], to id: UtteranceID) {
    guard takes(id) else { return }
    let index = index(of: id)
    entries[index].samples += samples
    entries[index].drive += drive
  }

  package mutating func finish(_ id: UtteranceID) {
    guard takes(id) else { return }
    entries[index(of: id)].isWhole = true
    dropEmpty()
  }

  /// Drops everything.
  package mutating func interrupt() {
    last = max(last, entries.map(\.id).max() ?? last)
    entries = []
  }

  /// Seconds that wait.
  package var seconds: Double { Double(entries.reduce(0) { $0 + $1.samples.count }) / Double(rate) }

  /// Whether an utterance has begun that is not over.
  package var isSpeaking: Bool { entries.first.map { $0.taken > 0 } ?? false }

  /// Whether so many seconds of speech can be made, or all that there will be.
  package func isReady(for seconds: Double) -> Bool {
    guard let first = entries.first else { return false }
    return first.isWhole || Double(first.samples.count) >= seconds * Double(rate)
  }

  /// The sound of the next pictures, each of so many driving samples.
  ///
  /// An utterance begins with a picture of its own, and its last one is filled up with silence. Where an utterance has begun and its
  /// sound is late, silence fills in; one that has not begun waits until it `isReady`.
  package mutating func next(_ count: Int, driveSamples: Int, readyFor seconds: Double) -> [Piece] {
    let silence = Piece(
      samples: [Float](repeating: 0, count: driveSamples * ratio), drive: [Float](repeating: 0, count: driveSamples))
    return (0..<count).map { _ in
      guard let first = entries.first, first.taken > 0 || isReady(for: seconds),
        first.isWhole || (first.samples.count >= driveSamples * ratio && first.drive.count >= driveSamples)
      else { return silence }
      return take(driveSamples)
    }
  }

  /// The driving sound after what was taken, filled up with silence, without taking it.
  package func following(_ count: Int) -> [Float] {
    guard let first = entries.first, first.taken > 0 else { return [Float](repeating: 0, count: count) }
    let known = Array(first.drive.prefix(count))
    return known + [Float](repeating: 0, count: count - known.count)
  }

  private mutating func take(_ driveSamples: Int) -> Piece {
    func removed(_ array: inout [Float], _ count: Int) -> [Float] {
      let taken = Array(array.prefix(count))
      array.removeFirst(taken.count)
      return taken + [Float](repeating: 0, count: count - taken.count)
    }
    let size = driveSamples * ratio
    let known = min(size, entries[0].samples.count)
    var piece = Piece(
      samples: removed(&entries[0].samples, size), drive: removed(&entries[0].drive, driveSamples),
      utterance: entries[0].id, offset: entries[0].taken)
    entries[0].taken += known
    if entries[0].isWhole, entries[0].samples.isEmpty {
      piece.endsUtterance = true
      last = max(last, entries[0].id)
      entries.removeFirst()
      dropEmpty()
    }
    return piece
  }

  /// Whole utterances without any sound end without a picture.
  private mutating func dropEmpty() {
    while let first = entries.first, first.isWhole, first.samples.isEmpty {
      last = max(last, first.id)
      entries.removeFirst()
    }
  }

  private mutating func index(of id: UtteranceID) -> Int {
    if let index = entries.firstIndex(where: { $0.id == id }) { return index }
    entries.append(Entry(id: id))
    return entries.count - 1
  }
}
