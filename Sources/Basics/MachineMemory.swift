import Foundation

/// Bytes of memory that this process may have at most: the machine's, or less where its control group (a container, a systemd service)
/// has a limit.
package func memoryLimit() -> Int {
  let physical = Int(clamping: ProcessInfo.processInfo.physicalMemory)
  return min(physical, controlGroupLimit() ?? .max)
}

/// Bytes that the system could give to this process now; nil where it does not say.
package func availableMemory() -> Int? {
  let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
  let free = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }?
    .split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
  return free.map { min($0, controlGroupLimit() ?? .max) }
}

/// The lowest limit from this process's control group up to the root; nil for none.
private func controlGroupLimit() -> Int? {
  #if os(Linux)
    func number(_ path: String) -> Int? {
      (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
        Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    let groups = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
    var limits: [Int] = []
    for line in groups.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3, fields[1].isEmpty || fields[1].split(separator: ",").contains("memory") else { continue }
      let (root, file) =
        fields[1].isEmpty ? ("/sys/fs/cgroup", "memory.max") : ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
      var path = String(fields[2])
      while true {
        if let limit = number("\(root)\(path == "/" ? "" : path)/\(file)") { limits.append(limit) }
        guard path.count > 1, let slash = path.lastIndex(of: "/") else { break }
        path = slash == path.startIndex ? "/" : String(path[..<slash])
      }
    }
    return limits.filter { $0 > 0 }.min()
  #else
    return nil
  #endif
}
