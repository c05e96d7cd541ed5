# A formula for a tap of one's own; `make packages` fills in where the source archive is and its digest.
class Poolhand < Formula
  desc "Node agent that lends one Mac to one model pool, over one outbound line"
  homepage "https://pypi.org/project/poolhand/"
  url "@URL@"
  sha256 "@SHA256@"
  license "Apache-2.0"

  depends_on "python@3.13"

  # wheels bring their own libraries; rewriting their names would break their signatures
  skip_clean "libexec"

  def install
    system "python3.13", "-m", "venv", libexec
    system libexec/"bin/python", "-m", "pip", "install", "--disable-pip-version-check",
           "--only-binary", ":all:", "--no-binary", "poolhand",
           "--constraint", "packaging/constraints.txt", "#{buildpath}[default]"
    bin.install_symlink libexec/"bin/poolhand"
    pkgshare.install Dir["packaging/units/*"], "packaging/observability"
    man1.install "packaging/man/poolhand.1"
    generate_completions_from_executable(bin/"poolhand", "completion")
  end

  # `brew services` runs it; `poolhand service install` does the same without Homebrew
  service do
    run [opt_bin/"poolhand", "run"]
    keep_alive successful_exit: false
    process_type :interactive
    log_path var/"log/poolhand.log"
    error_log_path var/"log/poolhand.log"
  end

  def caveats
    <<~EOS
      The configuration belongs to
        ~/Library/Application Support/poolhand/agent.toml
      Then: poolhand service install
    EOS
  end

  test do
    (testpath/"agent.toml").write <<~TOML
      [coordinator]
      url = "wss://coordinator.example/ws/provider"
    TOML
    assert_match version.to_s, shell_output("#{bin}/poolhand --version")
    assert_match "good", shell_output("#{bin}/poolhand config check --config agent.toml")
    assert_match "not running", shell_output("#{bin}/poolhand status --state-dir #{testpath}/s", 3)
  end
end
