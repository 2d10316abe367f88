import Testing
import Torch

@Suite struct ErrorScopeTests {
  private struct Unrelated: Error {}

  /// Fails in libtorch with a message that names both widths.
  @discardableResult
  private func fail(_ width: Int = 3) -> Tensor { Tensor.ones([2, width]).matmul(.ones([width + 1, 2])) }

  private func message(_ body: () throws -> Void) -> String? {
    do {
      try withTorchErrors(body)
      return nil
    } catch { return (error as? TorchError)?.description }
  }

  @Test func `a scope without failures gives the body's result`() throws {
    #expect(try withTorchErrors { (Tensor([1] as [Float]) + 1).item } == 2)
  }

  @Test func `the first failure is thrown, after the rest of the scope has run`() throws {
    var ranOn = false
    let text = try #require(
      message {
        let failed = fail(3)
        #expect(failed.shape == [0])
        fail(11)
        ranOn = true
      })
    #expect(ranOn)
    #expect(text.contains("2x3"))
    #expect(!text.contains("2x11"))
  }

  @Test func `operations on a failed tensor do not end the process`() {
    let text = message {
      let failed = fail()
      let shaped = failed.reshape(2, 2) + Tensor.ones([2, 2])
      _ = (shaped.size(3), shaped.item, shaped.array(Float.self), shaped.chunks(2, 1).count)
      _ = Tensor.cat([failed, shaped], 1).to(.bfloat16).description
    }
    #expect(text?.contains("2x3") == true)
  }

  @Test func `an inner scope throws its own failure, and the outer one goes on clean`() throws {
    try withTorchErrors {
      #expect(throws: TorchError.self) { try withTorchErrors { fail() } }
      #expect(Tensor.ones([2]).sum().item == 2)
    }
  }

  @Test func `a failure does not leak into the next scope`() throws {
    #expect(message { fail() } != nil)
    #expect(message { _ = Tensor.ones([2]).sum() } == nil)
  }

  @Test func `a failed operation explains a Swift error that follows it`() {
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        fail()
        throw Unrelated()
      }
    }
    #expect(throws: Unrelated.self) { try withTorchErrors { throw Unrelated() } }
  }

  @Test func `scopes of tasks side by side keep their failures apart`() async {
    let failures = await withTaskGroup(of: (Int, String?).self) { group in
      for width in 1...20 {
        group.addTask {
          do {
            try withTorchErrors {
              if width % 2 == 0 { _ = Tensor.ones([2, width]).matmul(.ones([width + 1, 2])) }
            }
            return (width, nil)
          } catch { return (width, "\(error)") }
        }
      }
      return await group.reduce(into: [Int: String?]()) { $0[$1.0] = $1.1 }
    }
    for width in 1...20 {
      let text = failures[width] ?? nil
      #expect(width % 2 == 0 ? text?.contains("2x\(width)") == true : text == nil)
    }
  }

  @Test func `values that do not fill their shape are such a failure too`() {
    #expect(message { _ = Tensor([1, 2, 3] as [Float], [2, 2]) }?.contains("[2, 2]") == true)
  }

  @Test func `outside a scope a failed operation ends the process`() async {
    await #expect(processExitsWith: .failure) { _ = Tensor.ones([2, 3]).matmul(.ones([4, 2])) }
  }

  @Test func `a task that outlives its scope is outside it`() async {
    await #expect(processExitsWith: .failure) {
      let (started, start) = AsyncStream<Void>.makeStream()
      let late = try withTorchErrors {
        Task {
          for await _ in started {}
          _ = Tensor.ones([2, 3]).matmul(.ones([4, 2]))
        }
      }
      start.finish()
      await late.value
    }
  }
}
