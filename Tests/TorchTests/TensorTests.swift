import Testing
import Torch

@Suite struct TensorTests {
  let grid = Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])

  @Test func `a tensor knows its shape, size and type`() {
    #expect(grid.shape == [2, 3])
    #expect(grid.rank == 2)
    #expect(grid.count == 6)
    #expect(grid.dtype == .float32)
    #expect(grid.device == .cpu)
    #expect(grid.byteCount == 24)
    #expect(grid.size(-1) == 3)
    #expect(grid.stride(0) == 3)
    #expect(grid.isContiguous && !grid.transpose(0, 1).isContiguous)
    #expect(Tensor(2).shape == [])
    #expect(grid.description.contains("2"))
  }

  @Test(arguments: DType.allCases)
  func `every type keeps small whole numbers and its size`(dtype: DType) {
    let values = Tensor([0, 1, 0, 1] as [Float], [2, 2]).to(dtype)
    #expect(values.dtype == dtype)
    #expect(values.byteCount == 4 * dtype.size)
    #expect(values.bytes().count == 4 * dtype.size)
    #expect(Tensor.zeros([3], dtype).dtype == dtype)
    if dtype != .complex64 { #expect(values.array(Float.self) == [0, 1, 0, 1]) }
  }

  @Test func `numbers of every Swift type come back as they were`() {
    #expect(Tensor([0.1, -2.5] as [Float]).array(Float.self) == [0.1, -2.5])
    #expect(Tensor([0.1, 1e300] as [Double]).array(Double.self) == [0.1, 1e300])
    #expect(Tensor([Int64.min, 7] as [Int64]).array(Int64.self) == [Int64.min, 7])
    #expect(Tensor([Int.max, -7]).array(Int.self) == [Int.max, -7])
    #expect(Tensor([Int32.min, 7] as [Int32]).array(Int32.self) == [Int32.min, 7])
    #expect(Tensor([Int16.min, 7] as [Int16]).array(Int16.self) == [Int16.min, 7])
    #expect(Tensor([0, 255] as [UInt8]).array(UInt8.self) == [0, 255])
    #expect(Tensor([] as [Float]).array(Float.self).isEmpty)
    #expect(Tensor([7, 8]).select(0, 1).intItem == 8)
  }

  @Test func `bf16 rounds to eight bits of mantissa, halves to even`() {
    let rounded = Tensor([937.5, 833.3333, 625, 1.00390625, 1.01171875] as [Float]).to(.bfloat16)
    expectValues(rounded, [936, 832, 624, 1, 1.015625])
  }

  @Test func `makers fill what they say`() {
    expectValues(.range(1, 2, step: 0.25), [1, 1.25, 1.5, 1.75])
    expectValues(.range(3, .int64), [0, 1, 2])
    expectValues(.linspace(0, 1, count: 5), [0, 0.25, 0.5, 0.75, 1])
    expectValues(.full([2], 2.5), [2.5, 2.5])
    expectValues(.ones([2]), [1, 1])
    #expect(Tensor.empty([2, 0]).count == 0)
  }

  @Test func `views share storage and copies do not`() {
    #expect(grid.reshape(3, 2).sharesStorage(with: grid))
    #expect(grid.narrow(1, 1, 2).sharesStorage(with: grid))
    #expect(grid.to(.float32).sharesStorage(with: grid))
    #expect(!grid.clone().sharesStorage(with: grid))
    #expect(!grid.copied(to: .cpu, .float32).sharesStorage(with: grid))
    let copy = grid.clone()
    copy.narrow(0, 0, 1).fill_(0)
    expectValues(copy, [0, 0, 0, 4, 5, 6])
    expectValues(grid, [1, 2, 3, 4, 5, 6])
  }

  @Test func `shapes are changed without changing values`() {
    expectValues(grid.reshape(3, 2).select(0, 1), [3, 4])
    expectValues(grid.reshape([6]), [1, 2, 3, 4, 5, 6])
    expectValues(grid.permute(1, 0), [1, 4, 2, 5, 3, 6])
    expectValues(grid.transpose(0, 1).contiguous(), [1, 4, 2, 5, 3, 6])
    #expect(grid.unsqueeze(0).shape == [1, 2, 3])
    #expect(grid.unsqueeze(1).squeeze(1).shape == [2, 3])
    #expect(grid.flatten().shape == [6])
    #expect(grid.unflatten(1, 3, 1).shape == [2, 3, 1])
    #expect(grid.unsqueeze(0).expand(4, 2, 3).shape == [4, 2, 3])
    let video = Tensor.zeros([1, 2, 3, 4, 5]).channelsLast3D()
    #expect(video.shape == [1, 2, 3, 4, 5] && video.stride(1) == 1)
  }

  @Test func `parts are cut out and put together`() {
    expectValues(grid.slice(1, 0, 3, step: 2), [1, 3, 4, 6])
    expectValues(grid.indexSelect(1, Tensor([2, 0])), [3, 1, 6, 4])
    expectValues(grid.gather(1, Tensor([2, 0], [2, 1])), [3, 4])
    expectValues(grid.flip(1), [3, 2, 1, 6, 5, 4])
    expectValues(grid.roll(1, 1), [3, 1, 2, 6, 4, 5])
    expectValues(Tensor.cat([grid, grid.narrow(0, 0, 1)], 0), [1, 2, 3, 4, 5, 6, 1, 2, 3])
    #expect(Tensor.stack([grid, grid], 0).shape == [2, 2, 3])
    let parts = grid.chunks(3, 1)
    #expect(parts.count == 3 && parts[2].sharesStorage(with: grid))
    expectValues(parts[2], [3, 6])
  }

  @Test func `padding takes the last dimension first and crops where negative`() {
    expectValues(grid.pad(1, 0, value: 9), [9, 1, 2, 3, 9, 4, 5, 6])
    expectValues(grid.pad(-1, 0, 0, -1), [2, 3])
    expectValues(Tensor([1, 2] as [Float], [1, 1, 2]).padReplicate(2, 1), [1, 1, 1, 2, 2])
  }

  @Test func `comparisons of whole tensors see shapes and values that are no numbers`() {
    #expect(grid.equals(grid.clone()) && !grid.equals(grid.reshape(3, 2)))
    #expect(grid.maxAbsDifference(grid + 0.5) == 0.5)
    #expect(grid.maxAbsDifference(grid.reshape(3, 2)) == .infinity)
    #expect(Tensor(Float.nan).maxAbsDifference(Tensor(1)) == .infinity)
    #expect(Tensor.empty([0]).maxAbsDifference(.empty([0])) == 0)
  }
}
