import ClipShards
import Foundation
import Generation
import Testing
import Torch

@testable import Training

@Suite struct TrajectoriesTests {
  private let tiny: TinyTraining

  init() throws { tiny = try TinyTraining() }

  private func make(_ out: String, batch: Int = 1, stoppingAfter limit: Int? = nil, seed: Int = 0) throws {
    var settings = TrajectorySettings()
    (settings.solverSteps, settings.guidance, settings.seed) = (4, .none, seed)
    let trajectories = try Trajectories(
      settings, data: try tiny.latents().path, teacher: tiny.folder["teacher"].path, out: tiny.folder[out].path,
      device: .cpu, precision: .float32)
    #expect(trajectories.count == 3)
    try trajectories.make(batch: batch) { done, _ in
      // What a signal does between two clips; what comes after is lost.
      guard done == limit else { return }
      try? trajectories.save()
      try? FileManager.default.copyItem(at: tiny.folder[out], to: tiny.folder["\(out)-stopped"])
    }
  }

  @Test func `each clip keeps what it had and gets its states`() throws {
    try make("out")
    let clips = try PreparedClips(tiny.folder["out"], expecting: [.trajectories])
    let source = try PreparedClips(try tiny.latents())
    #expect(clips.count == 3 && clips.index.width == 48 && clips.index.height == 32)
    #expect(try Trajectories.timesteps(of: clips.index) == [1000, 936, 832, 624])
    for clip in 0..<3 {
      for name in ["latents", "referenceLatent", "audioFeatures", "text"] {
        #expect(try clips.tensor(clip, name).equals(source.tensor(clip, name)))
      }
      let states = try clips.tensor(clip, "trajectory")
      #expect(states.shape == [5, 16, 6, 4, 6])
      for state in 0..<5 {
        #expect(states.select(0, state).narrow(1, 0, 1).equals(try source.tensor(clip, "referenceLatent")))
      }
    }
    #expect(try clips.shared("negativeText").equals(source.shared("negativeText")))
    // Noise of their own.
    let noise = try (0..<2).map { try clips.tensor($0, "trajectory").select(0, 0).narrow(1, 1, 5) }
    #expect(noise[0].maxAbsDifference(noise[1]) > 1)
  }

  @Test func `the first clips alone are those of all, and the rest can follow`() throws {
    var told: [Int] = []
    do {
      var settings = TrajectorySettings()
      (settings.solverSteps, settings.guidance) = (4, .none)
      let first = try Trajectories(
        settings, data: try tiny.latents().path, teacher: tiny.folder["teacher"].path, out: tiny.folder["first"].path,
        device: .cpu, precision: .float32)
      try first.make(first: 2) { done, count in told += [done, count] }
    }  // lets the folder go
    #expect(told == [1, 2, 2, 2])
    #expect(try PreparedClips(tiny.folder["first"]).count == 2)
    try make("first")
    try make("whole")
    #expect(try tiny.weights("first") == tiny.weights("whole"))
  }

  @Test func `clips solved together are those solved one by one`() throws {
    try make("one")
    try make("two", batch: 2)
    let (one, two) = (try PreparedClips(tiny.folder["one"]), try PreparedClips(tiny.folder["two"]))
    for clip in 0..<3 {
      let (a, b) = (try one.tensor(clip, "trajectory"), try two.tensor(clip, "trajectory"))
      #expect(a.maxAbsDifference(b) < 1e-4)
      #expect(try one.tensor(clip, "latents").equals(try two.tensor(clip, "latents")))
    }
  }

  @Test func `what goes on is what was not stopped`() throws {
    try make("whole")
    try make("parts", stoppingAfter: 1)
    #expect(try PreparedClips(tiny.folder["parts-stopped"]).count == 1)
    try make("parts-stopped")
    let (one, other) = (try tiny.weights("whole"), try tiny.weights("parts-stopped"))
    #expect(one == other && !one.isEmpty)
    let text = message { try make("whole", seed: 1) }
    #expect(text.contains("other settings") || text.contains("trajectories"), "\(text)")
  }

  @Test func `timesteps that do not fall from 1000 are refused`() throws {
    for timesteps in [[936, 832], [1000, 936, 936], [1000, 0.5], []] as [[Double]] {
      var settings = TrajectorySettings()
      settings.timesteps = timesteps
      let text = message {
        _ = try Trajectories(
          settings, data: "x", teacher: "y", out: "z", device: .cpu, precision: .float32)
      }
      #expect(text.contains("'timesteps' must be numbers that fall from 1000"), "\(text)")
    }
  }
}
