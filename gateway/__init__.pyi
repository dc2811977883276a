from .app import Gateway
from .control.method import Call
from .control.problem import RpcError
from .errors import AgentError, ConfigError, GatewayError, PeerGone, RequestError, ToolError
from .model.caller import Caller, Key, Rate
from .model.chat import ChatRequest, Image, Message
from .model.run import ReasoningDelta, RunDone, RunFailed, RunInput, ToolCallDelta, Usage
from .ports import Agent
from .server.limits import Limits

__version__: str
__all__ = [
    "Agent",
    "AgentError",
    "Call",
    "Caller",
    "ChatRequest",
    "ConfigError",
    "Gateway",
    "GatewayError",
    "Image",
    "Key",
    "Limits",
    "Message",
    "PeerGone",
    "Rate",
    "ReasoningDelta",
    "RequestError",
    "RpcError",
    "RunDone",
    "RunFailed",
    "RunInput",
    "ToolCallDelta",
    "ToolError",
    "Usage",
    "__version__",
]
