import Basics
import Foundation

/// Which of several processes this one is, and where they meet: what torchrun, mpirun, Slurm or Kubernetes put into the environment.
package struct LaunchEnvironment: Equatable, Sendable {
  /// This process among all, from 0.
  package let rank: Int
  /// How many processes there are.
  package let size: Int
  /// This process among those of its machine, from 0: the GPU to use.
  package let localRank: Int
  /// The machine of rank 0.
  package let address: String
  package let port: Int

  package init(rank: Int, size: Int, localRank: Int, address: String, port: Int) {
    self.rank = rank
    self.size = size
    self.localRank = localRank
    self.address = address
    self.port = port
  }

  private static let defaultPort = 29500

  /// The variables of one kind of launcher. Lists hold the names that its versions use, the first one that is set counts.
  fileprivate struct Launcher {
    let name: String
    let rank: [String]
    let size: [String]
    let localRank: [String]
    let localSize: [String]
  }

  private static let launchers = [
    Launcher(
      name: "torchrun", rank: ["RANK"], size: ["WORLD_SIZE"], localRank: ["LOCAL_RANK"],
      localSize: ["LOCAL_WORLD_SIZE"]),
    Launcher(
      name: "Open MPI", rank: ["OMPI_COMM_WORLD_RANK"], size: ["OMPI_COMM_WORLD_SIZE"],
      localRank: ["OMPI_COMM_WORLD_LOCAL_RANK"], localSize: ["OMPI_COMM_WORLD_LOCAL_SIZE"]),
    Launcher(
      name: "MPI", rank: ["PMI_RANK"], size: ["PMI_SIZE"],
      localRank: ["MPI_LOCALRANKID", "PMI_LOCAL_RANK", "PALS_LOCAL_RANKID"],
      localSize: ["MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"]),
    Launcher(
      name: "Slurm", rank: ["SLURM_PROCID"], size: ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
      localRank: ["SLURM_LOCALID"], localSize: []),
  ]

  /// Reads the environment of the first launcher that has left one; nil for a process that was started alone.
  ///
  /// Kubernetes sets what torchrun sets. Under Slurm the meeting place is the first host of the job unless MASTER_ADDR names
  /// another; MPI on one machine meets there, on several it needs MASTER_ADDR.
  /// - Throws: `LiveTalkError` for variables that are missing, no numbers, or contradict each other.
  package static func read(_ environment: [String: String] = ProcessInfo.processInfo.environment) throws
    -> LaunchEnvironment?
  {
    let environment = environment.filter { !$0.value.isEmpty }
    guard let launcher = launchers.first(where: { launcher in launcher.rank.contains { environment[$0] != nil } })
    else {
      if let size = environment["WORLD_SIZE"], size != "1" {
        throw LiveTalkError(
          "WORLD_SIZE is \(size) but RANK is not set: start one process per rank, each with its RANK.")
      }
      return nil
    }
    return try launcher.read(environment)
  }
}

extension LaunchEnvironment.Launcher {
  fileprivate func read(_ environment: [String: String]) throws -> LaunchEnvironment {
    let (rank, rankName) = try required(self.rank, environment)
    let (size, sizeName) = try required(self.size, environment)
    guard size > 0, (0..<size).contains(rank) else {
      throw LiveTalkError(
        "\(rankName)=\(rank) is not a rank of \(sizeName)=\(size): ranks go from 0 to \(sizeName) - 1.")
    }
    let given = try number(localRank, environment)
    let localSize = try number(self.localSize, environment)
    if let given, let localSize, !(0..<max(localSize.value, 1)).contains(given.value) {
      throw LiveTalkError("\(given.name)=\(given.value) is not a rank of \(localSize.name)=\(localSize.value).")
    }
    if let given, given.value < 0 || given.value >= size {
      throw LiveTalkError("\(given.name)=\(given.value) is not a rank of \(sizeName)=\(size).")
    }
    let isOneMachine = size == 1 || localSize?.value == size
    let address = try address(environment, isOneMachine: isOneMachine)
    return LaunchEnvironment(
      rank: rank, size: size, localRank: given?.value ?? (isOneMachine ? rank : 0), address: address,
      port: try port(environment))
  }

  private func number(_ names: [String], _ environment: [String: String]) throws -> (value: Int, name: String)? {
    guard let name = names.first(where: { environment[$0] != nil }), let text = environment[name] else { return nil }
    guard let value = Int(text) else { throw LiveTalkError("\(name)=\(text) is not a whole number.") }
    return (value, name)
  }

  private func required(_ names: [String], _ environment: [String: String]) throws -> (value: Int, name: String) {
    guard let found = try number(names, environment) else {
      throw LiveTalkError("\(names.joined(separator: " or ")) is not set, though \(name) has set other variables.")
    }
    return found
  }

  private func address(_ environment: [String: String], isOneMachine: Bool) throws -> String {
    if let address = environment["MASTER_ADDR"] { return address }
    if name == "Slurm" {
      let names = ["SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"]
      if let list = names.compactMap({ environment[$0] }).first {
        guard let host = LaunchEnvironment.firstHost(list) else {
          throw LiveTalkError("'\(list)' is not a list of nodes.")
        }
        return host
      }
    }
    guard isOneMachine else {
      throw LiveTalkError("MASTER_ADDR is not set: it names the machine of rank 0, where all ranks meet.")
    }
    return "127.0.0.1"
  }

  private func port(_ environment: [String: String]) throws -> Int {
    if let found = try number(["MASTER_PORT"], environment) {
      guard (1...65535).contains(found.value) else { throw LiveTalkError("MASTER_PORT=\(found.value) is not a port.") }
      return found.value
    }
    // Jobs that share a node must not meet at the same port.
    let job = name == "Slurm" ? try number(["SLURM_JOB_ID"], environment)?.value ?? 0 : 0
    return LaunchEnvironment.defaultPort + job % 1000
  }
}

extension LaunchEnvironment {
  /// The first host of Slurm's notation: `gpu[03-05,9],cpu1` begins with `gpu03`; nil for something else.
  static func firstHost(_ list: String) -> String? {
    var host = ""
    var rest = Substring(list)
    while let next = rest.popFirst() {
      if next == "," { break }
      guard next == "[" else {
        guard next != "]", !next.isWhitespace else { return nil }
        host.append(next)
        continue
      }
      guard let end = rest.firstIndex(of: "]") else { return nil }
      let first = rest[..<end].prefix { $0 != "," && $0 != "-" }
      guard !first.isEmpty, first.allSatisfy(\.isNumber) else { return nil }
      host += first
      rest = rest[rest.index(after: end)...]
    }
    return host.isEmpty ? nil : host
  }
}
