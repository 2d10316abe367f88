import Testing
import Torch

@Suite struct DeviceTests {
  @Test func `words name devices`() throws {
    #expect(try Device(parsing: "cpu") == .cpu)
    #expect(try Device(parsing: "CPU") == .cpu)
    let auto = try Device(parsing: "auto")
    #expect(auto == (Device.cudaCount > 0 ? .cuda(0) : Device.hasMPS ? .mps : .cpu))
    #expect(
      Device.cuda(2).description == "cuda:2" && Device.mps.description == "mps" && Device.cpu.description == "cpu")
  }

  @Test(arguments: ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cudax", "cpu:0", "cuda:0:1"])
  func `other words are refused with the list of those there are`(word: String) {
    let error = #expect(throws: TorchError.self) { try Device(parsing: word) }
    #expect(error?.description.contains("use cpu, cuda, cuda:N, mps or auto") == true)
  }

  @Test func `a device that is not there is named`() {
    let error = #expect(throws: TorchError.self) { try Device(parsing: "cuda:99") }
    #expect(error?.description.contains(Device.cudaCount == 0 ? "no CUDA device" : "cuda:99") == true)
    if !Device.hasMPS { #expect(throws: TorchError.self) { try Device(parsing: "mps") } }
  }

  @Test func `streams of the CPU run work at once`() {
    let stream = Stream(device: .cpu)
    let tensor = stream.run { Tensor.ones([3]) + 1 }
    stream.wait(for: .current(.cpu))
    stream.keep(tensor)
    stream.synchronize()
    Device.cpu.synchronize()
    #expect(tensor.sum().item == 6)
    struct Stop: Error {}
    #expect(throws: Stop.self) { try stream.run { throw Stop() } }
  }

  @Test func `the process's memory grows with a tensor that is filled`() async {
    // In a process of its own, where no other test takes and frees memory.
    await #expect(processExitsWith: .success) {
      let before = Device.cpu.memory
      #expect(before.current > 1 << 20 && before.peak > 1 << 20)
      let large = Tensor.ones([64 << 20], .uint8)
      let after = Device.cpu.memory
      #expect(after.current - before.current > 60 << 20)
      // The system counts the peak in coarser steps.
      #expect(after.peak >= before.peak && after.peak > after.current - (4 << 20))
      #expect(large.byteCount == 64 << 20)
      Device.cpu.resetPeakMemory()
      Device.cpu.releaseCachedMemory()
    }
  }

  @Test func `the library states its version and threads`() {
    #expect(Torch.version.split(separator: ".").count >= 2)
    #expect(Torch.threads >= 1)
  }
}
