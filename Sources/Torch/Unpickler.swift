import Foundation

/// What a pickle describes. Containers are places in the unpickler's list, so that no depth or cycle of a hostile file costs
/// any stack.
enum PickleValue {
  case none
  case bool(Bool)
  case int(Int)
  /// A number or text that no tensor needs.
  case opaque
  case string(String)
  case container(Int)
  /// `module.name`, one of those allowed.
  case global(String)
  case storage(PickledStorage)
  case tensor(PickledTensor)
}

/// A storage as a tensor of the pickle refers to it.
struct PickledStorage {
  /// The class, such as `torch.FloatStorage`.
  let type: String
  /// The name of its record.
  let record: String
  let count: Int
}

/// A tensor as the pickle describes it; nothing of it has been checked against the file.
struct PickledTensor {
  let storage: PickledStorage
  let offset: Int
  let shape: [Int]
  let strides: [Int]
  /// The global that names its element type, where the storage does not.
  let dtype: String?
}

/// A reader of pickles that knows plain data: numbers, text, lists, dictionaries and tensors. It calls nothing.
///
/// Understands what `torch.save` writes with protocols 2 to 5. See docs/decisions/0003-pickle.md.
struct Unpickler {
  /// Why a pickle is refused, as half a sentence about the file.
  struct Refusal: Error { let reason: String }

  enum Container {
    case list([PickleValue])
    case tuple([PickleValue])
    case dictionary([(key: PickleValue, value: PickleValue)])
  }

  private(set) var containers: [Container] = []
  private let bytes: [UInt8]
  private var position = 0
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The dictionaries among a value's entries with text as key; empty for anything but a dictionary.
  func entries(of value: PickleValue) -> [(key: String, value: PickleValue)]? {
    guard case .container(let index) = value, case .dictionary(let pairs) = containers[index] else { return nil }
    return pairs.compactMap { pair in
      if case .string(let key) = pair.key { (key, pair.value) } else { nil }
    }
  }

  /// Runs the pickle.
  ///
  /// - Throws: `Refusal`.
  mutating func run() throws -> PickleValue {
    while true {
      let code = try byte()
      guard let operation = Operation(rawValue: code) else {
        throw Refusal(
          reason: "its pickle uses the operation 0x\(String(code, radix: 16)), which plain data do not need")
      }
      if operation == .stop {
        guard stack.count == 1, marks.isEmpty else { throw Unpickler.malformed }
        return stack[0]
      }
      try perform(operation)
    }
  }

  private static var malformed: Refusal { Refusal(reason: "its pickle is malformed") }

  private enum Operation: UInt8 {
    case mark = 0x28
    case emptyTuple = 0x29
    case stop = 0x2E
    case pop = 0x30
    case popMark = 0x31
    case binFloat = 0x47
    case binInt = 0x4A
    case binInt1 = 0x4B
    case binInt2 = 0x4D
    case none = 0x4E
    case persistentID = 0x51
    case reduce = 0x52
    case shortBinString = 0x55
    case binUnicode = 0x58
    case emptyList = 0x5D
    case append = 0x61
    case build = 0x62
    case global = 0x63
    case appends = 0x65
    case binGet = 0x68
    case longBinGet = 0x6A
    case binPut = 0x71
    case longBinPut = 0x72
    case setItem = 0x73
    case tuple = 0x74
    case setItems = 0x75
    case emptyDictionary = 0x7D
    case protocolVersion = 0x80
    case tuple1 = 0x85
    case tuple2 = 0x86
    case tuple3 = 0x87
    case newTrue = 0x88
    case newFalse = 0x89
    case long1 = 0x8A
    case shortBinUnicode = 0x8C
    case binUnicode8 = 0x8D
    case stackGlobal = 0x93
    case memoize = 0x94
    case frame = 0x95
  }

  private mutating func perform(_ operation: Operation) throws {
    switch operation {
    case .stop: break
    case .protocolVersion:
      let version = try byte()
      guard (2...5).contains(version) else { throw Refusal(reason: "its pickle has the unknown protocol \(version)") }
    case .frame: _ = try number(8)
    case .none: stack.append(.none)
    case .newTrue: stack.append(.bool(true))
    case .newFalse: stack.append(.bool(false))
    case .binInt: stack.append(.int(Int(Int32(truncatingIfNeeded: try number(4)))))
    case .binInt1: stack.append(.int(try number(1)))
    case .binInt2: stack.append(.int(try number(2)))
    case .long1: stack.append(try long(try number(1)))
    case .binFloat:
      _ = try take(8)
      stack.append(.opaque)
    case .shortBinString: stack.append(try text(try number(1)))
    case .shortBinUnicode: stack.append(try text(try number(1)))
    case .binUnicode: stack.append(try text(try number(4)))
    case .binUnicode8: stack.append(try text(try number(8)))
    case .mark: marks.append(stack.count)
    case .pop: _ = try pop()
    case .popMark: _ = try popMark()
    case .emptyTuple: add(.tuple([]))
    case .tuple: add(.tuple(try popMark()))
    case .tuple1: try addTuple(1)
    case .tuple2: try addTuple(2)
    case .tuple3: try addTuple(3)
    case .emptyList: add(.list([]))
    case .emptyDictionary: add(.dictionary([]))
    case .append: try append([try pop()])
    case .appends: try append(try popMark())
    case .setItem:
      let value = try pop()
      try setItems([try pop(), value])
    case .setItems: try setItems(try popMark())
    case .binGet: stack.append(try remembered(try number(1)))
    case .longBinGet: stack.append(try remembered(try number(4)))
    case .binPut: memo[try number(1)] = try top()
    case .longBinPut: memo[try number(4)] = try top()
    case .memoize: memo[memo.count] = try top()
    case .global: stack.append(try global(try line(), try line()))
    case .stackGlobal:
      guard case .string(let name) = try pop(), case .string(let module) = try pop() else { throw Unpickler.malformed }
      stack.append(try global(module, name))
    case .persistentID: stack.append(.storage(try storage(try pop())))
    case .reduce:
      let arguments = try sequence(try pop())
      guard case .global(let name) = try pop() else { throw Unpickler.malformed }
      try call(name, arguments)
    case .build:
      // The `_metadata` of a state dictionary: versions of modules, which no tensor needs.
      _ = try pop()
      guard case .container(let index) = try top(), case .dictionary = containers[index] else {
        throw Refusal(reason: "it asks to set the state of an object, which is not plain data")
      }
    }
  }

  // MARK: Bytes

  private mutating func byte() throws -> UInt8 {
    guard position < bytes.count else { throw Refusal(reason: "its pickle ends in the middle") }
    position += 1
    return bytes[position - 1]
  }

  private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
    guard count >= 0, count <= bytes.count - position else { throw Refusal(reason: "its pickle ends in the middle") }
    position += count
    return bytes[position - count..<position]
  }

  /// An unsigned little-endian number; one past `Int.max` comes out negative, which `take` refuses.
  private mutating func number(_ width: Int) throws -> Int {
    Int(truncatingIfNeeded: try take(width).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  private mutating func long(_ width: Int) throws -> PickleValue {
    let digits = try take(width)
    guard width <= 8 else { return .opaque }
    guard let last = digits.last else { return .int(0) }
    let start: UInt64 = last & 0x80 != 0 ? .max : 0
    return .int(Int(truncatingIfNeeded: digits.reversed().reduce(start) { $0 << 8 | UInt64($1) }))
  }

  private mutating func text(_ count: Int) throws -> PickleValue {
    guard let text = String(validating: try take(count), as: UTF8.self) else { throw Unpickler.malformed }
    return .string(text)
  }

  private mutating func line() throws -> String {
    guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else { throw Unpickler.malformed }
    let line = try take(end - position)
    position += 1
    return String(decoding: line, as: UTF8.self)
  }

  // MARK: Stack

  private var floor: Int { marks.last ?? 0 }

  private mutating func pop() throws -> PickleValue {
    guard stack.count > floor else { throw Unpickler.malformed }
    return stack.removeLast()
  }

  private func top() throws -> PickleValue {
    guard stack.count > floor, let last = stack.last else { throw Unpickler.malformed }
    return last
  }

  private mutating func popMark() throws -> [PickleValue] {
    guard let mark = marks.popLast(), mark <= stack.count else { throw Unpickler.malformed }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private func remembered(_ index: Int) throws -> PickleValue {
    guard let value = memo[index] else { throw Refusal(reason: "its pickle refers to an object it does not hold") }
    return value
  }

  private mutating func add(_ container: Container) {
    containers.append(container)
    stack.append(.container(containers.count - 1))
  }

  private mutating func addTuple(_ count: Int) throws {
    guard stack.count - floor >= count else { throw Unpickler.malformed }
    let items = Array(stack.suffix(count))
    stack.removeLast(count)
    add(.tuple(items))
  }

  private mutating func append(_ items: [PickleValue]) throws {
    guard case .container(let index) = try top(), case .list(var list) = containers[index] else {
      throw Unpickler.malformed
    }
    containers[index] = .list([])  // so that the list is grown where it is, not copied
    list += items
    containers[index] = .list(list)
  }

  private mutating func setItems(_ items: [PickleValue]) throws {
    guard items.count % 2 == 0, case .container(let index) = try top(), case .dictionary(var pairs) = containers[index]
    else { throw Unpickler.malformed }
    containers[index] = .dictionary([])
    for i in stride(from: 0, to: items.count, by: 2) { pairs.append((items[i], items[i + 1])) }
    containers[index] = .dictionary(pairs)
  }

  // MARK: The names allowed

  private static let elementTypes: Set<String> = [
    "float32", "float", "float16", "half", "bfloat16", "float64", "double", "int64", "long", "int32", "int", "int16",
    "short", "int8", "uint8", "bool", "uint16", "uint32", "uint64", "complex64", "complex128", "complex32",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
  ]

  private func global(_ module: String, _ name: String) throws -> PickleValue {
    let allowed =
      switch (module, name) {
      case ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_tensor_v3"), ("torch._utils", "_rebuild_parameter"), ("torch", "Size"),
        ("torch.storage", "UntypedStorage"):
        true
      case ("torch", _):
        Unpickler.elementTypes.contains(name) || name.hasSuffix("Storage") && !name.contains(".")
      default: false
      }
    guard allowed else {
      throw Refusal(reason: "it asks to call '\(module).\(name)', which is not plain data")
    }
    return .global("\(module).\(name)")
  }

  private func sequence(_ value: PickleValue) throws -> [PickleValue] {
    guard case .container(let index) = value else { throw Unpickler.malformed }
    return switch containers[index] {
    case .tuple(let items), .list(let items): items
    case .dictionary: throw Unpickler.malformed
    }
  }

  private func integers(_ value: PickleValue) throws -> [Int] {
    try sequence(value).map { item in
      guard case .int(let number) = item else { throw Unpickler.malformed }
      return number
    }
  }

  /// `('storage', class, record, device, count)`.
  private func storage(_ identifier: PickleValue) throws -> PickledStorage {
    let parts = try sequence(identifier)
    guard parts.count == 5, case .string("storage") = parts[0], case .global(let type) = parts[1],
      case .string(let record) = parts[2], case .int(let count) = parts[4]
    else { throw Unpickler.malformed }
    return PickledStorage(type: type, record: record, count: count)
  }

  /// Stands in for a call of one of the functions that plain data need.
  private mutating func call(_ name: String, _ arguments: [PickleValue]) throws {
    switch name {
    case "collections.OrderedDict":
      add(.dictionary([]))
      if let pairs = arguments.first { try setItems(try sequence(pairs).flatMap { try sequence($0) }) }
    case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3":
      let typed = name.hasSuffix("v3")
      guard arguments.count >= (typed ? 7 : 6), case .storage(let storage) = arguments[0],
        case .int(let offset) = arguments[1]
      else { throw Unpickler.malformed }
      var dtype: String?
      if typed {
        guard case .global(let type) = arguments[6] else { throw Unpickler.malformed }
        dtype = type
      }
      stack.append(
        .tensor(
          PickledTensor(
            storage: storage, offset: offset, shape: try integers(arguments[2]), strides: try integers(arguments[3]),
            dtype: dtype)))
    case "torch._utils._rebuild_parameter":
      guard let tensor = arguments.first, case .tensor = tensor else { throw Unpickler.malformed }
      stack.append(tensor)
    case "torch.Size":
      guard let sizes = arguments.first else { throw Unpickler.malformed }
      add(.tuple(try sequence(sizes)))
    default: throw Refusal(reason: "it asks to call '\(name)', which is not plain data")
    }
  }
}
