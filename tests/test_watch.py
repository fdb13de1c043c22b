"""``bench watch``: what is drawn is the episode that was played, in Gymnasium's own environment."""

import io
import os
from pathlib import Path

import av
import gymnasium
import numpy as np
import pytest
from PIL import Image

from bench import cli, pictures, watch
from bench.errors import UserError
from bench.evaluate import evaluate
from bench.files import write_json
from bench.policy import Policy, sampler, save_policy
from bench.seeding import FINAL_EVALUATION_SEED, Streams
from bench.tasks import TASKS, get_task
from datasets.expert import load_expert

MUJOCO = [name for name, task in TASKS.items() if task.family == "mujoco"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", ""))  # to have it back when the test is over


@pytest.fixture(scope="session")
def found() -> str:
    try:
        return watch.renderer()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def gl(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo can draw here; asked once, for every asking takes a process."""
    monkeypatch.setattr(watch, "renderer", lambda: found)


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def run_of(policy: Policy, task: str) -> Path:
    """Write what a run's folder needs to be watched."""
    folder = Path("runs/bc/x/n1/seed3")
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"algorithm": "bc", "task": task, "trajectories": 1, "seed": 3, "label": "x"})
    save_policy(policy, folder / "policy.pt")
    return folder


def expected(task: str, seed: int = FINAL_EVALUATION_SEED) -> tuple[float, int]:
    outcome = evaluate(load_expert(task).act, get_task(task), [seed])
    return float(outcome.returns[0]), int(outcome.lengths[0])


def test_a_film_strip_of_an_expert(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["watch", "--expert", "acrobot", "--out", "a.png", "--frames", "4", "--episode-seed", "5"]) == 0
    mean, length = expected("acrobot", 5)
    said = f"acrobot, expert, deterministic, episode seed 5: return {mean:.2f} in {length} steps; in a.png\n"
    assert capsys.readouterr().out == said
    assert files() == ["a.png"]
    with Image.open("a.png") as image:
        assert image.format == "PNG"
        assert image.width == 4 * pictures.CELL + 3 * pictures.GAP


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_a_video_has_the_tasks_own_speed(kind: str) -> None:
    out = f"a.{kind}"
    assert cli.main(["watch", "--expert", "cartpole", "--out", out]) == 0
    assert files() == [out]
    stride = {"mp4": 2, "gif": 4}[kind]  # of 50 steps a second: 25, and 12.5 frames
    with av.open(out) as container:
        (stream,) = container.streams.video
        seconds = container.duration / 1e6
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(images) == 200 // stride + 1
    assert seconds == pytest.approx(len(images) * stride / 50, rel=0.02)
    assert images[0].shape[1] == {"mp4": 600, "gif": pictures.GIF_WIDTH}[kind]
    assert np.abs(images[0].astype(int) - images[-1]).max() > 100


def test_the_frames_are_those_of_one_pass_through_gymnasium() -> None:
    task = get_task("mountaincar")
    with watch.stage(task) as env:
        episode = watch.play(env, load_expert(task).act, 7)
        drawn = dict(watch.draw(env, episode, watch.spaced(len(episode), 5)))
    plain = gymnasium.make(task.env_id, render_mode="rgb_array")
    observation, _ = plain.reset(seed=7)
    act = load_expert(task).act
    frames = [plain.render()]
    for step in range(len(episode)):
        observation, _, terminated, _, _ = plain.step(act(observation[None])[0])
        frames.append(plain.render())
        assert terminated == (step == len(episode) - 1)
    assert len(drawn) == 5
    assert list(drawn)[::4] == [0, len(episode)]
    for step, frame in drawn.items():
        assert np.array_equal(frame, frames[step])
    assert not np.array_equal(frames[0], frames[-1])


def test_frames_are_evenly_spaced_and_different() -> None:
    assert watch.spaced(1000, 6) == [0, 200, 400, 600, 800, 1000]
    assert watch.spaced(10, 4) == [0, 3, 7, 10]
    assert watch.spaced(2, 6) == [0, 1, 2]


def test_the_seed_rules_a_stochastic_episode(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["watch", "--expert", "cartpole", "--frames", "2", "--stochastic", "--out"]
    for out, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        assert cli.main([*command, out, "--episode-seed", seed]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path("c.png").read_bytes()
    policy = load_expert("cartpole")
    outcome = evaluate(sampler(policy, Streams(1).torch("evaluation")), get_task("cartpole"), [1])
    assert f"stochastic, episode seed 1: return {outcome.returns[0]:.2f} in" in capsys.readouterr().out


def test_a_run_and_a_policys_file(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(load_expert("mountaincar"), "mountaincar")
    assert cli.main(["watch", str(run), "--out", "a.png"]) == 0
    assert cli.main(["watch", str(run / "policy.pt"), "--task", "mountaincar", "--out", "b.PNG"]) == 0
    assert cli.main(["watch", str(run)]) == 0
    mean, length = expected("mountaincar")
    names = ["bc+x n1 seed3", "policy", "bc+x n1 seed3"]
    outs = ["a.png", "b.PNG", "mountaincar-bc+x-n1-seed3.mp4"]
    assert capsys.readouterr().out.splitlines() == [
        f"mountaincar, {name}, deterministic, episode seed 1000000: return {mean:.2f} in {length} steps; in {out}"
        for name, out in zip(names, outs, strict=True)
    ]
    assert files() == [*outs, "runs"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the arguments RUN --expert is required"),
        (["x", "--expert", "cartpole"], "not allowed with argument"),
        (["--expert", "hoper"], "unknown task 'hoper'; known: cartpole,"),
        (["nowhere"], "cannot read nowhere/config.json: No such file"),
        (["nowhere.pt", "--task", "cartpole"], "nowhere.pt does not exist"),
        (["nowhere.pt"], "nowhere.pt does not say which task it is for: --task does"),
        (["nowhere", "--task", "cartpole"], "--task is for a policy's file"),
        (["--expert", "cartpole", "--out", "a.avi"], "unknown suffix '.avi'; known: .mp4, .gif, .png"),
        (["--expert", "cartpole", "--out", "a"], "unknown suffix ''"),
        (["--expert", "cartpole", "--out", "no/a.png"], "no is not a folder that can be written to"),
        (["--expert", "cartpole", "--out", "/proc/a.png"], "cannot write /proc/a.png"),
        (["--expert", "cartpole", "--frames", "6"], "--frames is a film strip's"),
        (["--expert", "cartpole", "--out", "a.png", "--frames", "1"], "2 frames or more, not 1"),
        (["--expert", "cartpole", "--out", "a.png", "--frames", "x"], "'x' is not an integer"),
        (["--expert", "cartpole", "--episode-seed", "-1"], "'-1' should not be negative"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["watch", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    (line,) = errors.strip().splitlines()
    assert line.startswith("bench: error: ")
    assert words in line
    assert files() == []


def test_a_policy_of_another_task_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    save_policy(load_expert("cartpole"), Path("mine.pt"))
    assert cli.main(["watch", "mine.pt", "--task", "acrobot", "--out", "a.png"]) == 2
    errors = capsys.readouterr().err
    assert "another task: it has 4 observed numbers and 2 kinds of actions; Acrobot-v1 has 6 observed numbers" in errors
    assert files() == ["mine.pt"]


def test_what_breaks_off_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    Path("a.gif").write_text("old")
    monkeypatch.setattr(watch.pictures, "captioned", interrupted)
    assert cli.main(["watch", "--expert", "cartpole", "--out", "a.gif"]) == 130
    assert files() == ["a.gif"]
    assert Path("a.gif").read_text() == "old"


def test_without_opengl_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "PROBE", "raise SystemExit(1)  # {}")
    for wanted, words in (("", "EGL, OSMesa or GLFW"), ("osmesa", "osmesa"), ("disabled", "MUJOCO_GL=disabled")):
        monkeypatch.setenv("MUJOCO_GL", wanted)
        assert cli.main(["watch", "--expert", "hopper"]) == 2
        output, errors = capsys.readouterr()
        (line,) = errors.strip().splitlines()
        assert output == ""
        assert words in line
        assert ("apt-get install" in line) == (wanted != "disabled")
        assert files() == []


def test_the_environments_own_choice_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PROBE", "import os; assert os.environ['MUJOCO_GL'] == 'osmesa'  # {}")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(UserError, match="egl"):
        watch.renderer()
    monkeypatch.delenv("MUJOCO_GL")
    assert watch.renderer() == "osmesa"  # the first that works


def body(frame: np.ndarray) -> np.ndarray:
    """Return where a frame shows a body: all of them are of warm colours, and neither sky nor floor is."""
    return frame[..., 0].astype(int) - frame[..., 2] > 30


@pytest.mark.usefixtures("gl")
@pytest.mark.parametrize("name", MUJOCO)
def test_every_mujoco_task_is_drawn(name: str) -> None:
    with watch.stage(get_task(name)) as env:
        env.reset(seed=0)
        frame = env.render()
    assert frame.shape[0] == 480
    assert 0.005 < body(frame).mean() < 0.3
    assert files() == []  # in particular no MUJOCO_LOG.TXT


@pytest.mark.usefixtures("gl")
def test_the_camera_goes_along_and_the_floor_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    """The drawn episode is the one that `bench evaluate` would play, to the last bit, 20 m far."""
    task = get_task("hopper")
    policy = load_expert(task)
    with watch.stage(task) as env:
        episode = watch.play(env, policy.act, FINAL_EVALUATION_SEED)
        frames = [frame for _, frame in watch.draw(env, episode, [0, len(episode)])]
        assert env.unwrapped.data.qpos[0] > 20
    assert (episode.returns[-1], len(episode)) == expected("hopper")
    for frame in frames:
        columns = np.flatnonzero(body(frame).any(0))
        assert 0.2 < columns.mean() / frame.shape[1] < 0.8
        assert frame[-60:].std() > 60  # black and light squares
    assert cli.main(["watch", "--expert", "hopper", "--out", "h.png", "--frames", "3"]) == 0
    assert f"return {episode.returns[-1]:.2f} in {len(episode)} steps; in h.png" in capsys.readouterr().out
    assert files() == ["h.png"]


def test_crops_to_where_something_is_to_be_seen() -> None:
    sky = np.repeat(np.linspace(100, 150, 200)[:, None, None], 300, axis=1).repeat(3, axis=2).astype(np.uint8)
    first, last = sky.copy(), sky.copy()
    first[60:90, 100:130] = 255
    last[80:120, 150:180] = 0
    m = pictures.MARGIN
    assert pictures.crop([first, last], (1, 1)) == (100 - m, 60 - m, 180 + m, 120 + m)
    assert pictures.crop([first, last], (200, 150)) == (40, 15, 240, 165)
    assert pictures.crop([first, last], (1000, 1000)) == (0, 0, 300, 200)
    assert pictures.crop([sky], (1, 1)) == (0, 0, 300, 200)
    first[:, :4] = 255
    first[-3:] = 255
    assert pictures.crop([first, last], (1, 1)) == (0, 60 - m, 180 + m, 200)


def test_a_strip_shows_its_frames_in_order() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    frames = [np.full((90, 120, 3), colour, dtype=np.uint8) for colour in colours]
    image = Image.open(io.BytesIO(pictures.strip(frames, ["a", "b", "c"], "title"))).convert("RGB")
    assert image.width == 3 * 120 + 2 * pictures.GAP
    seen = [image.getpixel((60 + i * (120 + pictures.GAP), image.height // 2)) for i in range(3)]
    assert seen == colours
