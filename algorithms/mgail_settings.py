"""The settings of MGAIL: defaults with their sources; `algorithms.mgail_tuned` has what is tuned per task."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from algorithms.controls import LEARNED, NEEDS_DEMONSTRATIONS, signal_field
from algorithms.critic import STRETCH
from bench.algorithm import AlgorithmConfig
from bench.tasks import Task


class MGAILConfig(AlgorithmConfig):
    """Settings of MGAIL; the names `mgail-basic` and `mgail-advanced` set `forward_model`."""

    iterations: int = Field(9000, gt=0, description="passes through the loop [ours: per task]")
    num_envs: int = Field(16, gt=0, description="environments stepped together [ours: speed]")
    forward_model: Literal["basic", "advanced"] = Field("advanced", description="Figure 4 [paper]")
    memory: Literal["carried", "constant"] = Field(
        "carried", description="state of the advanced model's GRU: carried along the episode [paper 3.5] or ones [code]"
    )
    burn_in: int = Field(
        8, ge=0, description="steps before a segment that fill a carried memory [ours: n of n-th order]"
    )
    scale: Literal["demonstrations", "mixture"] = Field(
        "demonstrations",
        description="scale of observations: the demonstrations', or half theirs, half that of random actions [ours]",
    )
    segments: Literal["fresh", "replay", "on_policy"] = Field(
        "fresh", description="where the recursion is walked [ours: the current policy's actions cure the swings]"
    )
    objective: Literal["cross_entropy", "paper"] = Field(
        "cross_entropy", description="cost of a step: -log(1 - D) [code] or D [paper eq. 5]"
    )
    horizon: int = Field(50, gt=0, description="steps of the recursion [ours: per task, seconds count; code: 10]")
    gamma: float = Field(0.99, gt=0, le=1, description="discount [code]")
    temperature: float = Field(1.0, gt=0, description="Gumbel-softmax temperature, discrete tasks [code]")
    entropy: float = Field(0.0, ge=0, description="lambda of the policy's entropy in the cost, discrete tasks [eq. 3]")
    sigma: float = Field(0.25, gt=0, description="action noise in expert action deviations [ours: 1/4; code: 1/6]")
    env_steps_per_iteration: int = Field(32, gt=0, description="environment steps per pass [ours: measured]")
    warmup_steps: int = Field(6400, ge=0, description="environment steps before the first update [ours]")
    starts: Literal["task", "mixed", "expert"] = Field(
        "task",
        description="where acting begins: as the task does [paper]; every other episode in a demonstrated state [ours];"
        " or in one in every pass anew [code]. The last two take a simulator that can be set",
    )
    buffer_size: int = Field(50_000, gt=0, description="environment steps kept [code]")
    batch_size: int = Field(64, gt=0, description="segments per policy step [code: 70]")
    model_steps: int = Field(1, gt=0, description="steps of f per pass [ours: per task]")
    model_batch: int = Field(256, gt=0, description="transitions per model step [ours]")
    model_weighted: bool = Field(
        True, description="errors of f count relative to how far a coordinate moves [ours: else contact forces take f]"
    )
    model_width: int = Field(200, gt=0, description="width of the forward model [ours: basic 200; code: 100]")
    discriminator_batch: int = Field(128, gt=0, description="agent and expert rows per D step, each [ours]")
    discriminator_hidden: tuple[PositiveInt, ...] = Field((200, 100), description="hidden layers of D [code]")
    discriminator_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of D's last hidden units dropped [ours: none; code: 0.25]"
    )
    expert_weight: float = Field(1.0, gt=0, description="weight of expert pairs in D's loss [paper; code: 0.8]")
    turns: int = Field(
        0, ge=0, description="passes after which D and the policy take turns; 0: both learn in every pass [code: 100]"
    )
    discriminator_age: int = Field(20_000, gt=0, description="D's agent half comes from the last steps [ours: K]")
    discriminator_matched: bool = Field(
        False, description="D's agent rows are of the times in an episode that its expert rows are of [ours: see M20]"
    )
    segment_age: int = Field(5_000, gt=0, description="segments come from the last environment steps [ours: measured]")
    gradient_penalty: float = Field(
        10.0, ge=0, description="weight of D's slopes above `discriminator_slope` [ours: D saturates without]"
    )
    discriminator_slope: float = Field(
        1.0,
        gt=0,
        description="slope of D's logit that goes uncharged [ours: per task, the steeper the sooner D saturates]",
    )
    adjoint_clip: float = Field(
        1000.0, gt=0, description="largest norm of a sample's j_s [ours: out of the way of all but the wildest]"
    )
    critic: bool = Field(
        False, description="a critic's cost to go stands for what comes after a segment [ours: falls are foreseen]"
    )
    critic_lambda: float = Field(
        0.95,
        ge=0,
        le=1,
        description="lambda of the critic's returns [ours: falls are told sooner than by one-step targets]",
    )
    critic_age: int = Field(20_000, gt=0, description="the critic learns on the last environment steps [ours]")
    critic_weight: float = Field(1.0, gt=0, description="weight of its cost to go [ours: per task, against falls]")
    critic_growth: float = Field(
        0.0,
        ge=0,
        le=10,
        description="that weight grows as steps shrink: it is divided by their size to this power [ours]",
    )
    critic_rate: float = Field(1e-3, gt=0, description="Adam step size of the critic [ours]")
    correction_clip: float = Field(0.5, gt=0, description="bound of the anchor's correction, normalised [ours]")
    model_rate: float = Field(1e-3, gt=0, description="Adam step size of f [ours; code: 1e-4]")
    discriminator_rate: float = Field(3e-4, gt=0, description="Adam step size of D [ours; code: 1e-3]")
    policy_rate: float = Field(1e-4, gt=0, description="Adam step size of the policy [code]")
    final_rate: float = Field(0.02, gt=0, le=1, description="D's and the policy's steps fall to this fraction [ours]")
    decay: Literal["linear", "exponential"] = Field("linear", description="how they fall to it [ours: per task]")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the policy's gradient [ours]")
    hidden: tuple[PositiveInt, ...] = Field(
        (100, 100), description="hidden layers of the policy [H&E, all methods alike]"
    )
    init: Literal["random", "bc"] = Field("random", description="initial policy [paper: random]")
    init_steps: int = Field(2000, gt=0, description="cloning steps for init=bc [ours]")
    average: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the run that the reported average of weights recalls; 0: last weights [ours]",
    )
    pull: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the way to that average which the learner goes back after every step [ours]",
    )

    signal: Literal["learned", "frozen"] = signal_field("one that stays random")

    @property
    def past(self) -> int:
        """Steps of the past that fill the forward model's memory."""
        return self.burn_in if (self.forward_model, self.memory) == ("advanced", "carried") else 0

    @property
    def length(self) -> int:
        """Steps of a walk: the horizon, but of the newest trajectory no more than a pass acts."""
        return min(self.horizon, self.acted) if self.segments == "on_policy" else self.horizon

    @property
    def acted(self) -> int:
        """Steps of every environment in a pass."""
        return max(self.env_steps_per_iteration // self.num_envs, 1)

    def fraction(self, iteration: int) -> float:
        """Return the size of D's and the policy's steps in a pass, relative to those of the first one."""
        done = iteration / self.iterations
        return self.final_rate**done if self.decay == "exponential" else max(self.final_rate, 1 - done)

    def weight_of_rest(self, fraction: float) -> float:
        """Return the weight of the critic's cost to go where steps have this fraction of their first size."""
        return self.critic_weight * fraction**-self.critic_growth

    def idle(self, task: Task) -> set[str]:
        """Return what changes nothing: settings of other kinds of actions, models, segments or first policies."""
        idle = {"sigma"} if task.discrete else {"temperature", "entropy"}
        if self.forward_model == "basic":
            idle |= {"memory", "burn_in"}
        elif self.memory == "constant":
            idle |= {"burn_in"}
        if not self.critic:
            idle |= {f"critic_{name}" for name in ("age", "growth", "lambda", "rate", "weight")}
        if not self.average:
            idle |= {"pull"}
        if self.segments != "fresh":
            idle |= {"correction_clip"}
        if self.segments == "on_policy":
            idle |= {"segment_age"} | (set() if self.critic else {"batch_size"})
        if self.final_rate == 1:
            idle |= {"decay", "critic_growth"}
        if not self.gradient_penalty:
            idle |= {"discriminator_slope"}
        if self.init == "bc":
            idle |= {"scale"}
        if self.signal != LEARNED:
            training = ("rate", "batch", "age", "matched")
            idle |= {
                "scale",
                "gradient_penalty",
                "discriminator_slope",
                "expert_weight",
                *(f"discriminator_{name}" for name in training),
            }
        return idle | ({"init_steps"} if self.init == "random" else set())

    @model_validator(mode="after")
    def _controls_look_at_no_demonstration(self) -> Self:
        for name, value in (("init", "bc"), ("starts", "mixed"), ("starts", "expert")):
            if self.signal != LEARNED and getattr(self, name) == value:
                raise ValueError(NEEDS_DEMONSTRATIONS.format(self.signal, f"{name}={value}"))
        return self

    @model_validator(mode="after")
    def _critic_has_a_discount(self) -> Self:
        if self.critic and self.gamma == 1:
            raise ValueError("critic=True needs a gamma below 1: it learns (1 - gamma) Q")
        return self

    @model_validator(mode="after")
    def _first_update_has_its_sequences(self) -> Self:
        """Refuse settings whose first update would need longer sequences than the warm-up records."""
        length, source = self.horizon, f"horizon={self.horizon}"
        if self.segments == "on_policy":
            length = self.acted
            source = f"env_steps_per_iteration={self.env_steps_per_iteration}"
        steps = length + self.past
        if self.critic and steps < STRETCH:
            steps, source = STRETCH, "critic=True"
        if max(self.warmup_steps // self.num_envs, 1) < steps:
            raise ValueError(
                f"{source} needs warmup_steps of at least {steps * self.num_envs}, not {self.warmup_steps}: "
                f"{steps} steps of each of the {self.num_envs} environments"
            )
        return self
