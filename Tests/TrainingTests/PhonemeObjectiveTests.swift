import ClipShards
import Foundation
import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct PhonemeObjectiveTests {
  let configuration = Wav2Vec2Configuration(
    width: 24, layers: 2, heads: 4, feedForwardWidth: 48, convolutionWidths: Array(repeating: 16, count: 7),
    positionKernel: 16, positionGroups: 4)
  let tones = ["_": 0.0, "a": 300, "e": 700, "i": 1500, "o": 3000]

  /// Tones of drawn lengths, one frequency a "phoneme", over some noise.
  func sound(_ seed: UInt64, seconds: Double = 1) -> LabelledSound {
    let generator = RandomGenerator(seed: seed)
    let draws = generator.uniform([200]).array(Double.self)
    let noise = generator.normal([Int(seconds * 16_000)]).array(Double.self)
    let names = tones.keys.sorted()
    var (phonemes, time, last) = ([PhonemeSegment](), 0.0, -1)
    while time < seconds {
      var next = Int(draws[2 * phonemes.count] * Double(names.count))
      if next == last { next = (next + 1) % names.count }
      let end = min(seconds, time + 0.08 + 0.12 * draws[2 * phonemes.count + 1])
      phonemes.append(PhonemeSegment(names[next], time, end))
      (time, last) = (end, next)
    }
    let samples = noise.enumerated().map { index, noise in
      let time = Double(index) / 16_000
      let tone = tones[phonemes.first { time < $0.end }?.symbol ?? "_"] ?? 0
      return Float(0.3 * sin(2 * .pi * tone * time) + 0.01 * noise)
    }
    return LabelledSound(samples: samples, phonemes: phonemes)
  }

  var symbols: PhonemeSymbols { PhonemeSymbols(names: tones.keys.sorted()) }

  func model(weighsStates: Bool = false, dtype: DType = .float32) throws -> PhonemeModel {
    try PhonemeModel(configuration, symbols, weighsStates: weighsStates, dtype: dtype, RandomGenerator(seed: 1))
  }

  // MARK: Labels

  @Test func `Symbols are those of the data, silence first`() {
    let symbols = PhonemeSymbols(of: [
      [PhonemeSegment("o", 0, 1)], [PhonemeSegment("a", 0, 1), PhonemeSegment("o", 1, 2)],
    ])
    #expect(symbols.names == ["_", "a", "o"])
    #expect(symbols["o"] == 2 && symbols["x"] == nil)
  }

  @Test func `A row has the phoneme at the middle of what it sees`() {
    // 400 samples of 25 ms, every 20 ms: the middles are at 12.47 ms, 32.47 ms, …
    let times = PhonemeBatch.rowTimes(samples: 1600, rows: 4, configuration)
    #expect(times.count == 4)
    #expect(abs(times[0] - 0.01246875) < 1e-12 && abs(times[3] - 0.07246875) < 1e-12)
    let phonemes = [PhonemeSegment("a", 0, 0.0325), PhonemeSegment("x", 0.0325, 0.06), PhonemeSegment("o", 0.06, 0.1)]
    let sound = LabelledSound(samples: [Float](repeating: 0, count: 1600), phonemes: phonemes)
    #expect(PhonemeBatch.labels(sound, at: times, symbols) == [1, 1, -100, 4])
    let stretched = PhonemeBatch.rowTimes(samples: 1600, rows: 3, configuration)
    #expect(stretched[0] == times[0] && stretched[2] == times[3])
    #expect(abs(stretched[1] - (times[1] + times[2]) / 2) < 1e-12)
  }

  @Test func `A shorter sound is filled up, and what fills it is not scored`() throws {
    let (long, short) = (sound(1), sound(2, seconds: 0.5))
    let batch = try PhonemeBatch([long, short], symbols, configuration, framesPerSecond: 16)
    #expect(batch.samples.shape == [2, 16_000] && batch.rows == 17 && batch.labels.shape == [2, 17, 1])
    let labels = batch.labels.select(0, 1).flatten().array(Int.self)
    #expect(labels.firstIndex(of: -100) == 9 && Set(labels[9...]) == [-100])
    #expect(!batch.labels.select(0, 0).flatten().array(Int.self).contains(-100))
    let alone = AudioFeatures.normalized(short.samples)
    #expect(batch.samples.select(0, 1).narrow(0, 0, 8000).equals(alone))
    #expect(batch.samples.select(0, 1).narrow(0, 8000, 8000).abs().max().item == 0)
  }

  @Test func `Labels of several moments are those before and after a row`() throws {
    let sound = sound(1)
    let batch = try PhonemeBatch([sound], symbols, configuration, framesPerSecond: 16, moments: [-0.06, 0, 0.06])
    let rows = batch.labels.select(0, 0)
    let (before, at, after) = (rows.select(1, 0), rows.select(1, 1), rows.select(1, 2))
    // 17 rows over 49 features of 20 ms are 60 ms apart.
    #expect(before.narrow(0, 1, 16).equals(at.narrow(0, 0, 16)) && after.narrow(0, 0, 16).equals(at.narrow(0, 1, 16)))
    #expect(before.select(0, 0).item == -100, "nothing is known before the sound")
  }

  @Test func `Sounds without a row or a phoneme are refused`() {
    #expect(
      message { _ = try PhonemeBatch([], symbols, configuration, framesPerSecond: 16) }.contains("has no feature"))
    let silent = LabelledSound(samples: [Float](repeating: 0, count: 800), phonemes: [])
    #expect(
      message { _ = try PhonemeBatch([silent], symbols, configuration, framesPerSecond: 16) }.contains("known phoneme"))
  }

  @Test func `A part of a sound has its own phonemes`() {
    let phonemes = [PhonemeSegment("a", 0, 0.5), PhonemeSegment("e", 0.5, 1)]
    let whole = LabelledSound(samples: (0..<16_000).map(Float.init), phonemes: phonemes)
    let part = whole.cropped(from: 4000, count: 8000)
    #expect(part.samples.first == 4000 && part.samples.count == 8000)
    #expect(part.phonemes == [PhonemeSegment("a", 0, 0.25), PhonemeSegment("e", 0.25, 0.5)])
    #expect(whole.cropped(from: 15_000, count: 8000).phonemes == [PhonemeSegment("e", 0, 0.0625)])
  }

  @Test func `Prepared media gives sounds with their phonemes, and videos`() throws {
    let folder = try TemporaryFolder()
    let sound = sound(1)
    let phonemes = sound.phonemes.map { ShardPhoneme(symbol: $0.symbol, start: $0.start, end: $0.end) }
    let video = Tensor([0, 255, 51] as [UInt8], [3, 1, 1, 1])
    let writer = try ShardWriter(folder["shards"], ShardDescription(kind: .media, width: 1, height: 1))
    let tensors = ["video": video, "sound": Tensor(sound.samples)]
    try writer.append("a", ClipMetadata(caption: "", phonemes: phonemes), tensors)
    try writer.append("b", ClipMetadata(caption: ""), tensors)
    try writer.flush()
    let clips = try PreparedClips(folder["shards"], expecting: [.media])
    #expect(try clips.sound(0).samples == sound.samples && clips.sound(0).phonemes == sound.phonemes)
    #expect(try clips.sound(1).phonemes.isEmpty)
    #expect(Set(clips.phonemeSymbols.names) == Set(sound.phonemes.map(\.symbol)).union(["_"]))
    #expect(try clips.video(0).maxAbsDifference(Tensor([-1, 1, -0.6] as [Float], [1, 3, 1, 1, 1])) < 1e-6)
  }

  // MARK: Gradients

  @Test(arguments: [[0], [-0.03, 0, 0.03]])
  func `Its gradients are those of differences in every parameter`(moments: [Double]) throws {
    let model = try PhonemeModel(
      configuration, symbols, moments: moments.count, weighsStates: true, dtype: .float64, RandomGenerator(seed: 1))
    let sounds = [sound(1, seconds: 0.3), sound(2, seconds: 0.25)]
    let batch = try PhonemeBatch(
      sounds, symbols, configuration, framesPerSecond: 16, moments: moments)
    let objective = PhonemeObjective()
    expectGradients(of: model.parameters) { objective(model, batch, RandomGenerator(seed: 5)).loss }
  }

  // MARK: Noise

  @Test func `One seed gives one loss, and without a generator nothing is disturbed`() throws {
    let model = try model()
    let batch = try PhonemeBatch([sound(1)], symbols, configuration, framesPerSecond: 50)
    let objective = PhonemeObjective()
    func loss(_ seed: UInt64?) -> Double { objective(model, batch, seed.map { RandomGenerator(seed: $0) }).loss.item }
    #expect(loss(1) == loss(1))
    #expect(loss(1) != loss(2))
    #expect(loss(nil) != loss(1))
    var still = PhonemeSettings()
    (still.dropout, still.maskShare) = (0, 0)
    #expect(PhonemeObjective(still)(model, batch, RandomGenerator(seed: 1)).loss.item == loss(nil))
  }

  @Test func `Rows are hidden in runs, in the share that is asked for`() {
    var settings = PhonemeSettings()
    settings.maskShare = 0.2
    let objective = PhonemeObjective(settings)
    let rows = objective.visibleRows(2, 100, run: 5, RandomGenerator(seed: 1)).reshape(2, 100)
    for sound in 0..<2 {
      let hidden = rows.select(0, sound).array(Float.self).map { $0 == 0 }
      #expect((10...20).contains(hidden.count { $0 }))
      #expect(!hidden.split(separator: false).contains { $0.count < 5 })
    }
    #expect(!rows.select(0, 0).equals(rows.select(0, 1)))
    // Of few rows half of a run's worth at most, in one sound or the other.
    let short = objective.visibleRows(500, 6, run: 10, RandomGenerator(seed: 1)).sum(1).array(Int.self)
    #expect(Set(short) == [3, 6])
    #expect(abs(Double(short.reduce(0, +)) / 3000 - 0.8) < 0.03)
    #expect(objective.visibleRows(3, 1, run: 10, RandomGenerator(seed: 1)).sum().item == 3)
  }

  @Test func `Dropout keeps the mean and takes its share away`() {
    let x = Tensor.ones([100, 100]).dropout(0.25, RandomGenerator(seed: 1))
    #expect(abs((x .== 0).to(.float32).mean().item - 0.25) < 0.02)
    #expect(abs(x.mean().item - 1) < 0.02)
  }

  // MARK: Training

  @Test func `It learns to tell tones apart, sounds that it has not heard too`() throws {
    let model = try model()
    let batch = try PhonemeBatch((1...8).map { sound($0) }, symbols, configuration, framesPerSecond: 50)
    let others = try PhonemeBatch((101...104).map { sound($0) }, symbols, configuration, framesPerSecond: 50)
    let objective = PhonemeObjective()
    let before = objective(model, others, nil)
    var optimizer = HandAdam(model.parameters.map(\.tensor), rate: 3e-3)
    let generator = RandomGenerator(seed: 7)
    for _ in 0..<50 { optimizer.descend(objective(model, batch, generator).loss) }
    let after = objective(model, others, nil)
    #expect(before.accuracy.item < 0.4)
    #expect(after.accuracy.item > 0.7, "\(before.accuracy.item) to \(after.accuracy.item)")
    #expect(after.loss.item < before.loss.item / 2)
  }

  // MARK: Files

  @Test func `What it writes is the avatar's speech encoder, and can be trained further`() throws {
    let folder = try TemporaryFolder()
    let model = try model(weighsStates: true)
    try model.write(to: folder.url)
    let checkpoint = try CheckpointFolder(folder.url)
    try checkpoint.verify(.audioEncoder)
    let samples = sound(1).samples
    let served = try Wav2Vec2(folder: folder["wav2vec2"])
    #expect(served.configuration == configuration)
    let features = try served.encode(samples, frameCount: 17)
    #expect(features.equals(try model.encoder.encode(samples, frameCount: 17)))

    // The states that training sees are those that serving gives, the last one first.
    let states = model.encoder.hiddenStates(AudioFeatures.normalized(samples).unsqueeze(0), rows: 17)
    #expect(Tensor.cat([states[2]] + states, -1).maxAbsDifference(features) < 1e-5)

    let head = try SafetensorsFile(folder["wav2vec2/\(PhonemeModel.headFile)"])
    #expect(
      head.entries.keys.sorted() == ["bias", "weight"].map { "phoneme_head.output.\($0)" } + [
        "phoneme_head.state_weights"
      ])
    #expect(head.metadata["symbols"] == #"["_","a","e","i","o"]"#)
    let weights = try checkpoint.weights(.audioEncoder)
    let further = try PhonemeModel(configuration, symbols, weights: weights, RandomGenerator(seed: 9))
    #expect(try further.encoder.encode(samples, frameCount: 17).equals(features))

    let key = "wav2vec2.encoder.layer_norm.weight"
    try model.write(to: folder.url, values: [key: Tensor.full([24], 3)])
    #expect(try readWeights(try checkpoint.require(.audioEncoder))[key]?.equals(Tensor.full([24], 3)) == true)
  }
}
