from .app import Gateway as Gateway
from .errors import AgentError as AgentError
from .errors import ConfigError as ConfigError
from .errors import GatewayError as GatewayError
from .errors import PeerGone as PeerGone
from .errors import RequestError as RequestError
from .model.chat import ChatRequest as ChatRequest
from .model.chat import Message as Message
from .model.run import RunDone as RunDone
from .model.run import RunFailed as RunFailed
from .model.run import RunInput as RunInput
from .model.run import Usage as Usage
from .server.limits import Limits as Limits

__version__: str
__all__: list[str]
