import Testing

@testable import Distributed

@Suite struct LaunchEnvironmentTests {
  private func refusal(_ environment: [String: String]) -> String? {
    do {
      let launch = try LaunchEnvironment.read(environment)
      return "no error but \(String(describing: launch))"
    } catch { return "\(error)" }
  }

  @Test func `a process that was started alone has none`() throws {
    #expect(try LaunchEnvironment.read([:]) == nil)
    #expect(try LaunchEnvironment.read(["PATH": "/bin", "MASTER_PORT": "1", "RANK": ""]) == nil)
    #expect(try LaunchEnvironment.read(["WORLD_SIZE": "1"]) == nil)
    // A job's own shell, in which no task was started.
    #expect(try LaunchEnvironment.read(["SLURM_NTASKS": "8", "SLURM_JOB_ID": "3"]) == nil)
  }

  @Test func `torchrun's variables are read`() throws {
    let environment = [
      "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "host-0.pods",
      "MASTER_PORT": "2345",
    ]
    #expect(
      try LaunchEnvironment.read(environment)
        == LaunchEnvironment(rank: 5, size: 8, localRank: 1, address: "host-0.pods", port: 2345))
  }

  @Test func `Open MPI's variables are read, and one machine meets on itself`() throws {
    let environment = [
      "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
      "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    ]
    #expect(
      try LaunchEnvironment.read(environment)
        == LaunchEnvironment(rank: 1, size: 2, localRank: 1, address: "127.0.0.1", port: 29500))
    #expect(
      refusal(environment.merging(["OMPI_COMM_WORLD_SIZE": "4"]) { $1 })
        == "MASTER_ADDR is not set: it names the machine of rank 0, where all ranks meet.")
  }

  @Test func `the variables of MPICH and Intel MPI are read`() throws {
    let environment = [
      "PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2", "MASTER_ADDR": "a",
    ]
    #expect(
      try LaunchEnvironment.read(environment)
        == LaunchEnvironment(rank: 3, size: 4, localRank: 1, address: "a", port: 29500))
  }

  @Test func `Slurm's ranks meet at the first host of the job, at a port of the job's own`() throws {
    let environment = [
      "SLURM_PROCID": "9", "SLURM_NTASKS": "16", "SLURM_LOCALID": "1", "SLURM_NODELIST": "gpu[003-004,17],cpu1",
      "SLURM_JOB_ID": "1234567",
    ]
    #expect(
      try LaunchEnvironment.read(environment)
        == LaunchEnvironment(rank: 9, size: 16, localRank: 1, address: "gpu003", port: 30067))
    let named = try LaunchEnvironment.read(environment.merging(["MASTER_ADDR": "x", "MASTER_PORT": "5"]) { $1 })
    #expect(named?.address == "x" && named?.port == 5)
  }

  @Test(arguments: [
    ("node1", "node1"), ("node1,node2", "node1"), ("n[1-4]", "n1"), ("n[08,10-12]", "n08"), ("a-b[7]-ib,c", "a-b7-ib"),
    ("rack[1-2]node[03-09]", "rack1node03"), ("", nil), ("n[", nil), ("n[]", nil), ("n[a]", nil), ("n]", nil),
    (",n", nil),
  ])
  func `the first host of a list of nodes`(list: String, host: String?) {
    #expect(LaunchEnvironment.firstHost(list) == host)
  }

  @Test func `environments that are half set are refused with the variable's name`() {
    #expect(refusal(["RANK": "0"]) == "WORLD_SIZE is not set, though torchrun has set other variables.")
    #expect(
      refusal(["WORLD_SIZE": "2", "MASTER_ADDR": "a"])
        == "WORLD_SIZE is 2 but RANK is not set: start one process per rank, each with its RANK.")
    #expect(
      refusal(["RANK": "0", "WORLD_SIZE": "2"])
        == "MASTER_ADDR is not set: it names the machine of rank 0, where all ranks meet.")
    #expect(
      refusal(["RANK": "2", "WORLD_SIZE": "2"])
        == "RANK=2 is not a rank of WORLD_SIZE=2: ranks go from 0 to WORLD_SIZE - 1.")
    #expect(refusal(["RANK": "x", "WORLD_SIZE": "2"]) == "RANK=x is not a whole number.")
    #expect(
      refusal(["RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "70000"]) == "MASTER_PORT=70000 is not a port.")
    #expect(
      refusal(["RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"])
        == "LOCAL_RANK=2 is not a rank of LOCAL_WORLD_SIZE=2.")
    #expect(
      refusal(["SLURM_PROCID": "0"])
        == "SLURM_STEP_NUM_TASKS or SLURM_NTASKS is not set, though Slurm has set other variables.")
  }
}
